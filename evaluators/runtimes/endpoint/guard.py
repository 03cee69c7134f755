"""Which addresses a call may go to: the guard against server-side request forgery."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

Address = IPv4Address | IPv6Address

CONNECT_SECONDS = 5.0
_HTTPS = 443
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

# Networks, not the standard library's words for them: `is_private` and `is_global` have changed
# between Python versions and let multicast, carrier-grade NAT and metadata addresses through.
_DENIED_4 = tuple(
    (ipaddress.IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments, cloud metadata"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, broadcast"),
    )
)
_DENIED_6 = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::1/128", "loopback"),
        ("::/128", "this host"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("2001::/23", "protocol assignments, Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        # What is left outside 2000::/3 belongs to nobody.
        *((f"{first:x}000::/4", "reserved") for first in (0, 1, *range(4, 16))),
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP = 0x5EFE
"""Bits 32 to 63 of an interface identifier that carries an IPv4 address, but for one flag."""


class AddressDenied(OSError):
    """The guard refused to connect; the text says to what, and why."""


def denied(address: str) -> str | None:
    """Say why nobody may connect to the address, or None when it is a public one.

    IPv4 inside IPv6 is unpacked first: the router that unpacks it would reach the inner address.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(found, IPv6Address):
        if found.scope_id:
            return "link-local"
        if found in IPv6Network("::/127"):
            return _listed(found)
        if inner := _unpacked(found):
            return _listed(inner)
    return _listed(found)


def _unpacked(address: IPv6Address) -> IPv4Address | None:
    bits = int(address)
    if any(address in net for net in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64)):
        return IPv4Address(bits & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if bits >> 32 & 0xFDFFFFFF == _ISATAP:
        return IPv4Address(bits & 0xFFFFFFFF)
    return None


def _listed(address: Address) -> str | None:
    networks = _DENIED_4 if isinstance(address, IPv4Address) else _DENIED_6
    return next((why for network, why in networks if address in network), None)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be called: everything, or public addresses and what an admin allows."""

    guard: bool
    allow: frozenset[tuple[str, int]] = frozenset()
    """Hosts with port that an admin trusts: any address, and plain http besides."""
    ports: frozenset[int] = frozenset({_HTTPS})
    """Ports of public hosts."""
    names: Callable[[], AbstractResolver] = field(default=ThreadedResolver, compare=False)
    """Looks names up."""

    @classmethod
    def guarded(cls, allow: Iterable[str] = (), *, ports: Iterable[int] = ()) -> EgressPolicy:
        """Return the policy for URLs of people whom nobody knows.

        Args:
            allow: `host:port` entries; an IPv6 address stands in brackets.
            ports: Further ports of public hosts, besides 443.

        Raises:
            ValueError: An entry is no `host:port`.
        """
        entries = frozenset(_host_and_port(entry) for entry in allow)
        return cls(guard=True, allow=entries, ports=frozenset({_HTTPS, *ports}))

    @classmethod
    def trusting(cls) -> EgressPolicy:
        """Return the policy of the command line, whose user may call whatever they can reach."""
        return cls(guard=False)

    def refusal(self, url: str) -> str | None:
        """Say why the URL may not be called, as far as its text tells; None when it may."""
        parsed = _parsed(url)
        if isinstance(parsed, str):
            return parsed
        if not self.guard or self.trusts(parsed):
            return None
        if parsed.scheme != "https":
            return "it must be https"
        if parsed.port not in self.ports:
            return f"port {parsed.port} is not allowed"
        host = str(parsed.host)
        why = denied(host) if _is_address(host) else None
        return f"{host} is not a public address ({why})" if why else None

    def trusts(self, url: URL) -> bool:
        """Tell whether an admin allows this very host and port."""
        return (_plain(str(url.host)), url.port) in self.allow

    def connector(self, url: URL) -> aiohttp.TCPConnector:
        """Return connections for this URL alone; redirects must be off."""
        if not self.guard or self.trusts(url):
            return aiohttp.TCPConnector(limit=0, resolver=self.names())
        return aiohttp.TCPConnector(
            limit=0, resolver=GuardedResolver(self.names()), socket_factory=guarded_socket
        )


class GuardedResolver(AbstractResolver):
    """Resolves a name once and hands on its addresses only if every one is public.

    What is returned is what is connected to, so that a second, different answer of a hostile name
    server cannot matter.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            AddressDenied: One of them is not public, or there is none.
        """
        found = await self._inner.resolve(host, port, family)
        if not found:
            raise AddressDenied(f"{host} has no address")
        for entry in found:
            if why := denied(entry["host"]):
                raise AddressDenied(f"{host} is at {entry['host']}, not a public address ({why})")
        return found

    async def close(self) -> None:
        """Close the resolver within."""
        await self._inner.close()


def guarded_socket(addr_info: aiohttp.AddrInfoType) -> socket.socket:
    """Make the socket for one connection: the last gate, which literal addresses pass as well.

    Raises:
        AddressDenied: The address is not public.
    """
    family, kind, protocol, _, place = addr_info
    address = str(place[0])
    if why := denied(address):
        raise AddressDenied(f"{address} is not a public address ({why})")
    return socket.socket(family, kind, protocol)


def _parsed(url: str) -> URL | str:
    """Return the URL, or what is wrong with it in words."""
    if any(character <= " " or character in '\\"<>^`{|}\x7f' for character in url):
        return "it holds characters that no URL may"
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError as error:
        return f"it is not a URL: {error}"
    wrong = {
        "it must begin with https:// or http://": parsed.scheme not in {"http", "https"},
        "it names no host": not parsed.host or not port,
        "it must not hold a user name or password": "@" in _authority(url),
        "its host holds an escape": "%" in _authority(url),
        "it must have neither query nor fragment": "?" in url or "#" in url,
        "its host is an address in an odd notation": _odd(str(parsed.host)),
    }
    return next((words for words, found in wrong.items() if found), parsed)


def _authority(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _odd(host: str) -> bool:
    """Tell whether a host ends in a number, as addresses do, and is not written like one."""
    last = host.rstrip(".").rpartition(".")[2]
    return not _is_address(host) and _NUMBER.fullmatch(last) is not None


def _host_and_port(entry: str) -> tuple[str, int]:
    parsed = _parsed(f"http://{entry}")
    if isinstance(parsed, str) or parsed.path != "/" or parsed.explicit_port is None:
        raise ValueError(f"{entry!r} is not host:port")
    return _plain(str(parsed.host)), int(parsed.explicit_port)


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
