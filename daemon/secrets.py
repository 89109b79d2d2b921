"""What must not be told: the secrets of the settings, and those that stand in URLs and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from daemon.settings import SECRET, Settings, environment_name

_HIDDEN: Final = "***"
_SHORTEST: Final = 6
"""A value of fewer characters would blacken ordinary words."""
_MARKS: Final = ("://", "earer", "audiolla_")
_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?(?P<rest>[^\s?#]*)"
    r"(?P<secret>[?#][^\s'\"<>)\]}]*)?",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"(bearer\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_TOKEN: Final = re.compile(r"audiolla_[A-Za-z0-9_-]{20,}")


def secrets_of(settings: Settings) -> Iterator[str]:
    """Every value that is secret, in one piece."""
    for name in sorted(SECRET):
        value = getattr(settings, name)
        for one in value if isinstance(value, list) else [value]:
            if len(one) >= _SHORTEST:
                yield one
                yield one.removeprefix("whsec_")


class Scrubber:
    """Takes secrets out of text, for logs and everything else that leaves this machine."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Without settings, only what looks like a secret is known."""
        known = sorted(set(secrets_of(settings)), key=len, reverse=True) if settings else []
        self._known = re.compile("|".join(re.escape(one) for one in known)) if known else None

    def __call__(self, text: str) -> str:
        """The text without them; of a URL, scheme, host and path are left."""
        if self._known is not None:
            text = self._known.sub(_HIDDEN, text)
        if any(mark in text for mark in _MARKS):
            text = _URL.sub(_shortened, text)
            text = _BEARER.sub(rf"\1{_HIDDEN}", text)
            text = _TOKEN.sub(_HIDDEN, text)
        return text


def _shortened(url: re.Match[str]) -> str:
    query = f"{url['secret'][0]}{_HIDDEN}" if url["secret"] else ""
    return f"{url['scheme']}{url['rest']}{query}"


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that need none: they get their settings in another way."""
    names = {environment_name(name) for name in SECRET} | {"HF_TOKEN"}
    return {name: value for name, value in environment.items() if name not in names}
