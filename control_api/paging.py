"""Lists in pages: `limit`, an opaque `cursor`, and where the next page is.

Source: RFC 8288 (`Link: <...>; rel="next"`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import urlencode

import falcon

from handlers.errors import BadParameter, MistypedParameter

MAX_LIMIT = 10_000


@dataclass(frozen=True)
class Page:
    """What a client asks for."""

    limit: int | None
    #: Where the page before ended; "" for the first one.
    cursor: str


def page_of(req: falcon.Request) -> Page:
    """The page that a request wants.

    Raises:
        MistypedParameter, BadParameter: limit is no number, or out of range; the cursor is none
            that was given out.
    """
    limit = whole_number(req, "limit", most=MAX_LIMIT)
    given = req.get_param("cursor") or ""
    try:
        cursor = base64.urlsafe_b64decode(given.encode() + b"==").decode()
    except (binascii.Error, UnicodeError):
        raise BadParameter("cursor is none that this server gave out", field="cursor") from None
    return Page(limit, cursor)


def whole_number(req: falcon.Request, name: str, *, most: int) -> int | None:
    """A query parameter that counts from 1; None when it is not given.

    Raises:
        MistypedParameter, BadParameter: it is no number, or out of range.
    """
    text = req.get_param(name) or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MistypedParameter(f"{name} = {text!r} is not a whole number", field=name)
    if not 1 <= int(text) <= most:
        raise BadParameter(f"{name} = {text} is outside 1..{most}", field=name)
    return int(text)


def link_next(req: falcon.Request, resp: falcon.Response, end: str) -> None:
    """Say where the next page is: the one after the entry `end`."""
    cursor = base64.urlsafe_b64encode(end.encode()).decode().rstrip("=")
    query = {k: v for k, v in req.params.items() if isinstance(v, str)} | {"cursor": cursor}
    resp.append_header("Link", f'<{req.path}?{urlencode(query)}>; rel="next"')
