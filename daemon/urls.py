"""Which URLs this server talks to: the fetch policy, as rules over text and over addresses.

Nothing here opens a connection. A URL is judged twice: as text before a job
exists, and by every address that its name resolves to when it is used
(`daemon.outgoing`). A refusal says which rule refused, and never repeats the
path or the query of the URL: they may hold a secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from handlers.errors import UrlRefused

Address = IPv4Address | IPv6Address
Mode = Literal["disabled", "allowlist", "denylist"]

DISABLED = "this server does not fetch from or send to URLs (AUDIOLLA_FETCH_MODE is disabled)"
_MAX_LENGTH = 8192
_UNSAFE = frozenset('\\"<>{}|^`')
_PORTS = {"https": 443, "http": 80}
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")

#: Ranges that lead into some private network, or nowhere, though `is_global` calls them global:
#: translated and tunnelled IPv4 in its several spellings, site-local, relays, protocol assignments.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"),
        *("::ffff:0:0:0/96", "fec0::/10", "192.88.99.0/24", "192.0.0.0/24"),
    )
)


@dataclass(frozen=True)
class Target:
    """A URL that may be asked, in the parts that a connection needs."""

    scheme: str
    #: Lower case, without a trailing dot and without the brackets of IPv6.
    host: str
    port: int
    #: Path and query, as they are sent.
    path: str

    @property
    def literal(self) -> Address | None:
        """The address that the host is, if it is one and no name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """What a log may say: the path only as a hash, for it may be all that guards a hook."""
        path = hashlib.sha256(self.path.encode()).hexdigest()[:8]
        return f"{self.origin} (path {path})"


def without_secrets(url: str) -> str:
    """A URL as results and listings show it: without user, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return SplitResult(parts.scheme, host, parts.path, "", "").geturl()


def target_of(url: str, schemes: Sequence[str]) -> Target:
    """Read a URL strictly: what two programs could read differently is refused.

    Raises:
        UrlRefused: it is no URL, or not one of these schemes.
    """
    if len(url) > _MAX_LENGTH:
        raise UrlRefused(f"the URL is longer than {_MAX_LENGTH} characters")
    if not all("!" <= c <= "~" for c in url) or _UNSAFE & set(url):
        raise UrlRefused(
            "the URL has characters that must be percent-encoded (only printable ASCII, "
            'and none of \\ " < > { } | ^ `)'
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise UrlRefused(f"the URL cannot be read: {wrong}") from None
    if parts.scheme not in schemes:
        allowed = " or ".join(schemes)
        raise UrlRefused(f"its scheme must be {allowed}, not {parts.scheme or 'missing'}")
    if "@" in parts.netloc:
        raise UrlRefused("the URL holds a user or password")
    if port == 0:
        raise UrlRefused("port 0 does not exist")
    path = parts.path or "/"
    return Target(
        parts.scheme,
        _host(parts),
        port or _PORTS[parts.scheme],
        f"{path}?{parts.query}" if parts.query else path,
    )


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    try:
        if parts.netloc.startswith("["):
            if not _BRACKETED.fullmatch(parts.netloc):
                raise ValueError(host)
            return str(IPv6Address(host))
        return _name(host)
    except ValueError:
        raise UrlRefused("the URL names no host that can be asked") from None


def _name(host: str) -> str:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(host)
    # `127.1`, `2130706433` and `0x7f000001` are addresses to some programs: only the one spelling.
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return str(IPv4Address(host))
    return host


def bare(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped IPv6 one; any other as it is."""
    return getattr(address, "ipv4_mapped", None) or address


def is_public(address: Address) -> bool:
    """True for an address of the public Internet that answers as one host."""
    address = bare(address)
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )


def check_pattern(pattern: str) -> str:
    """A host pattern in the form that hosts are compared in.

    Raises:
        ValueError: it is neither a host nor `*.` and a suffix.
    """
    text = pattern.strip().lower().removesuffix(".")
    try:
        if ":" in text:
            return str(IPv6Address(text.removeprefix("[").removesuffix("]")))
        _name(text.removeprefix("*."))
    except ValueError:
        raise ValueError(
            f"{pattern!r} is no host pattern; it is a host name, an address, or *.suffix"
        ) from None
    return text


def matches(host: str, pattern: str) -> bool:
    """True when a host is the pattern, or a sub-domain of a pattern `*.suffix`."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


@dataclass(frozen=True)
class Policy:
    """The rules for one kind of request."""

    mode: Mode
    #: Patterns in the form of `check_pattern`.
    hosts: Sequence[str]
    schemes: Sequence[str]
    allow_private: bool = False
    #: Name of the setting that holds `hosts`, for messages.
    setting: str = "AUDIOLLA_FETCH_HOSTS"

    def check(self, url: str) -> Target:
        """What can be said of a URL without asking anybody for its address.

        Raises:
            UrlRefused: a rule refuses it; the detail says which.
        """
        if self.mode == "disabled":
            raise UrlRefused(DISABLED)
        target = target_of(url, self.schemes)
        listed = any(matches(target.host, pattern) for pattern in self.hosts)
        if self.mode == "allowlist" and not listed:
            raise UrlRefused(f"the host {target.host} is not in {self.setting}")
        if self.mode == "denylist" and listed:
            raise UrlRefused(f"the host {target.host} is in {self.setting}, which lists the denied")
        if target.literal is not None:
            self.check_address(target, target.literal)
        return target

    def check_address(self, target: Target, address: Address) -> None:
        """Refuse an address that the target's host resolves to.

        Raises:
            UrlRefused: it is not public, or denied.
        """
        if self.mode == "denylist" and str(bare(address)) in self.hosts:
            raise UrlRefused(f"the address of {target.host} is in {self.setting}")
        if not self.allow_private and not is_public(address):
            raise UrlRefused(
                f"the host {target.host} has a private, loopback or otherwise not public address "
                "(AUDIOLLA_FETCH_ALLOW_PRIVATE is false)"
            )
