"""JSON, headers and names as they cross the wire."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import quote

import orjson

from handlers.errors import BadParameter


def to_json(value: Any) -> bytes:
    """JSON bytes; NaN and infinities become null, so that any parser can read them."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def from_json(data: bytes | str, what: str) -> Any:
    """The value of JSON text. NaN, infinities and deep nesting are refused.

    Raises:
        BadParameter: it is not JSON.
    """
    try:
        return _whole(orjson.loads(data))
    except orjson.JSONDecodeError as wrong:
        raise BadParameter(f"{what} is not valid JSON: {wrong}") from None
    except RecursionError:
        raise BadParameter(f"{what} is nested too deeply") from None


def _whole(value: Any) -> Any:
    """The same value, its floats without fraction as integers: JSON knows only numbers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _whole(entry) for name, entry in value.items()}
    return value


def display_name(name: str, fallback: str) -> str:
    """A client's file name as printable text without folders, fit for messages and templates."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join("_" if is_control(c) else c for c in last).strip()
    return shown[:200] if shown not in ("", ".", "..") else fallback


def is_control(char: str) -> bool:
    """True for what may hide or forge text: control, surrogate, line and direction characters."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _DIRECTION


_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def attachment(name: str) -> str:
    """A `Content-Disposition` value that makes a client save the body (RFC 6266)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    value = f'attachment; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name.encode('utf-8', 'replace'), safe='')}"
    return value


def header_text(value: Any) -> str:
    """A result's fact as a header value: one line of Latin-1."""
    text = "" if value is None else str(value)
    return (
        "".join(c for c in text if c.isprintable()).encode("latin-1", "replace").decode("latin-1")
    )
