"""Bytes of a file on their way out: whole, a part of them, or none if the client has them.

Source: RFC 9110, sections 8.8 (validators), 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import BinaryIO

import falcon


def send_file(
    req: falcon.Request,
    resp: falcon.Response,
    file: BinaryIO,
    size: int,
    *,
    tag: str,
    modified: float | None = None,
) -> None:
    """Answer with a file that the server closes when the last byte has been sent.

    Args:
        tag: a strong validator: it changes with any byte of the file.
        modified: Unix seconds.

    Raises:
        falcon.HTTPRangeNotSatisfiable: the part that is asked for lies behind the end.
    """
    resp.etag = tag
    resp.set_header("Accept-Ranges", "bytes")
    if modified is not None:
        resp.last_modified = datetime.fromtimestamp(modified, UTC)
    if _has_it(req, tag, modified):
        file.close()
        resp.status = 304
        resp.content_type = None
        resp.delete_header("Content-Disposition")
        return
    part = _part(req, size, tag)
    if part is None:
        resp.set_stream(file, size)
        return
    start, end = part
    if start >= size:
        file.close()
        raise falcon.HTTPRangeNotSatisfiable(size)
    file.seek(start)
    resp.status = 206
    resp.content_range = (start, end, size)
    resp.set_stream(_Part(file, end + 1 - start), end + 1 - start)


def _has_it(req: falcon.Request, tag: str, modified: float | None) -> bool:
    known = req.if_none_match
    if known is not None:
        return any(one == "*" or one == tag for one in known)
    since = req.if_modified_since
    if since is None or modified is None:
        return False
    return int(modified) <= since.timestamp()


def _part(req: falcon.Request, size: int, tag: str) -> tuple[int, int] | None:
    """First and last byte that are asked for; None for the whole file.

    What cannot be understood, and several parts at once, are answered with the whole, as the
    standard allows.
    """
    asked = req.get_header("Range")
    only_if = req.get_header("If-Range")
    if asked is None or (only_if is not None and only_if.strip() != f'"{tag}"'):
        return None
    unit, _, span = asked.partition("=")
    first, dash, last = span.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash:
        return None
    if not all(text == "" or (text.isascii() and text.isdigit()) for text in (first, last)):
        return None
    if first == "":
        # The last so many bytes; of none at all there is no first one.
        return (max(size - int(last), 0) if int(last) else size, size - 1) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1


class _Part:
    """So many bytes of a file, from where it stands."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._left = left

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()
