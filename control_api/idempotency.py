"""The same request sent again is the same job: `Idempotency-Key`.

A key is known as long as its job is. The same key with another request is refused.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import falcon

from control_api.forms import Form
from control_api.wire import to_json
from handlers.errors import AudiollaError, BadParameter

_LONGEST = 255


class KeyReused(AudiollaError):
    """An idempotency key came with another request before."""


class StillRunning(AudiollaError):
    """The first request of an idempotency key has not been answered yet."""

    transient = True


def key_of(req: falcon.Request) -> str | None:
    """The key of a request, without its quotes.

    Raises:
        BadParameter: it is empty, too long, or holds what a header should not.
    """
    text = req.get_header("Idempotency-Key")
    if text is None:
        return None
    key = text.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not 0 < len(key) <= _LONGEST or not key.isascii() or not key.isprintable():
        raise BadParameter(
            f"Idempotency-Key has to be 1 to {_LONGEST} printable ASCII characters",
            field="Idempotency-Key",
        )
    return key


def fingerprint(req: falcon.Request, form: Form) -> str:
    """What two requests that want the same have in common, as a hash."""
    about = {
        "path": req.path,
        "texts": sorted((name, sorted(texts)) for name, texts in form.texts.items()),
        "values": to_json(sorted(form.values.items())).decode(),
        "uploads": sorted((name, _hash(upload.path)) for name, upload in form.uploads.items()),
    }
    return hashlib.sha256(to_json(about)).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
