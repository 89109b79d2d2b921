"""Under which names this server answers, and which pages may ask it.

A page of another site, open in a browser on this machine, can send requests to
127.0.0.1; and when the page's own name resolves there (DNS rebinding), its
`Origin` and the `Host` agree. A stranger cannot register an address, a name
without a dot or a name of a home network, so those are ours.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

_HOME: Final = (".localhost", ".local", ".internal", ".lan", ".home", ".home.arpa")


def is_ours(host: str, allowed: Collection[str] = ()) -> bool:
    """True for a name that this server answers under.

    Args:
        host: as the client has it, with its port or without.
        allowed: further names, in lower case.
    """
    name = _without_port(host)
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        return True
    name = name.lower().rstrip(".")
    return name in allowed or "." not in name or name.endswith(_HOME)


def is_foreign(origin: str, host: str) -> bool:
    """True where a request comes from a page of another site than this server."""
    return urlsplit(origin).netloc.lower() != host.lower()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
