"""Asks the running daemon's API, for what only its main process knows."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from daemon.address import announced
from daemon.commands.outcome import Unreachable
from daemon.settings import Settings
from handlers.errors import AudiollaError


def ask(
    settings: Settings, method: str, path: str, *, body: Any = None, timeout: float = 60.0
) -> Any:
    """The JSON answer of the API.

    Args:
        body: sent as JSON, if there is one.

    Raises:
        Unreachable: no daemon works on this data directory.
        AudiollaError: it refuses; the detail is its sentence.
    """
    url = announced(settings)
    nobody = Unreachable(
        f"no daemon is running on {settings.data_dir}; start one with `audiolla serve`"
    )
    if url is None:
        raise nobody
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    headers: dict[str, str | bytes] = {}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body), "application/json"
    if settings.auth_token:
        headers["Authorization"] = f"Bearer {settings.auth_token}".encode()
    try:
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        raise nobody from None
    finally:
        connection.close()
    if answer.status >= 400:
        raise AudiollaError(str(body.get("detail", body)))
    return body
