"""Results that are given again: what a client says about it, and what it is told.

`Cache-Control: no-cache` has the work done, whatever is known; `no-store` has
it done and forgotten. `X-Cache` says HIT, MISS, or BYPASS where nothing was
looked for.

Source: RFC 9111, section 5.2.1.
"""

from __future__ import annotations

from dataclasses import replace

import falcon

from control_api.ports import Cached, Submission


def as_cached(submission: Submission, req: falcon.Request) -> Submission:
    """A submission with what its request says about results that are known."""
    said = {part.strip().lower() for part in (req.get_header("Cache-Control") or "").split(",")}
    forgotten = "no-store" in said
    # `max-age=0` is what browsers send to have a page made anew.
    anew = forgotten or bool(said & {"no-cache", "max-age=0"})
    return replace(submission, known_will_do=not anew, may_be_kept=not forgotten)


def say(resp: falcon.Response, cache: Cached | None, *, again: bool) -> None:
    """Tell where an answer comes from; `again`: that of an earlier request with the same key."""
    if cache is not None:
        resp.set_header("X-Cache", "HIT" if again else cache)
