"""Where the API of a running daemon listens, for commands on the same machine."""

from __future__ import annotations

from pathlib import Path

from daemon.settings import Settings


def _file(settings: Settings) -> Path:
    return settings.data_dir / "run" / "api.url"


def announce(settings: Settings, port: int) -> str:
    """Write down where the API listens; the URL."""
    # Listening on every address means that this machine reaches it by its own.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(  # noqa: S104 - compared
        settings.host, settings.host
    )
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    file = _file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(url + "\n", encoding="utf-8")
    part.rename(file)
    return url


def withdraw(settings: Settings) -> None:
    """The API does not listen any more."""
    _file(settings).unlink(missing_ok=True)


def announced(settings: Settings) -> str | None:
    """The URL that a daemon wrote down; it may have died since."""
    try:
        return _file(settings).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
