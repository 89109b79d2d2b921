"""What a client would like of the server: `Prefer: respond-async`, `Prefer: wait=10`.

Source: RFC 7240.
"""

from __future__ import annotations

from dataclasses import dataclass

import falcon


@dataclass(frozen=True)
class Wishes:
    """What is understood of the header; what is not is no error."""

    #: Answer at once, with a job.
    at_once: bool = False
    #: Seconds to wait for the result before a job is the answer; None as long as it takes.
    wait: float | None = None

    def granted(self, resp: falcon.Response) -> None:
        """Say which wishes were taken up."""
        said = ["respond-async"] if self.at_once else []
        said += [f"wait={self.wait:.0f}"] if self.wait is not None else []
        if said:
            resp.set_header("Preference-Applied", ", ".join(said))


def wishes(req: falcon.Request) -> Wishes:
    """Read the header."""
    at_once, wait = False, None
    for wish in (req.get_header("Prefer") or "").split(","):
        name, _, value = wish.partition(";")[0].partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "respond-async":
            at_once = True
        elif name == "wait" and value.isascii() and value.isdigit() and len(value) < 8:
            wait = float(value)
    return Wishes(at_once and not wait, wait)
