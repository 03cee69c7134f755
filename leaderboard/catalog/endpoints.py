"""Endpoints: which URLs may be called, and how they are named; the one door to the guard."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from yarl import URL

from evaluators.errors import BadModel

if TYPE_CHECKING:
    from evaluators.runtimes.endpoint.guard import EgressPolicy

LOOKUP_SECONDS = 2.0
"""How long a form waits for a name server; the worker looks again before it connects."""

_PASTED = ("/chat/completions", "/completions", "/models")
"""Ends of URLs that people copy from documentation; what is called is their beginning."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that may be called, as far as can be told now."""

    url: str
    """What calls begin with, such as `https://host/v1`."""
    origin: str
    """Scheme, host and port: what a key is bound to."""
    host: str
    private: bool
    """An admin allows this host by name; its name is nobody else's business."""


def egress_policy() -> EgressPolicy:
    """Return what this server's endpoints may be, for the form and for the worker."""
    from evaluators.runtimes.endpoint.guard import EgressPolicy

    return EgressPolicy.guarded(settings.REDRAFT_ENDPOINT_ALLOW, ports=_further_ports())


def read_endpoint(text: str) -> Endpoint:
    """Check and normalise a URL that somebody typed.

    Raises:
        BadModel: It may not be called; one line says why.
    """
    policy, text = egress_policy(), text.strip()
    if reason := policy.refusal(text):
        raise BadModel(model="endpoint", reason=reason)
    url = URL(text)
    for end in _PASTED:
        url = url.with_path(url.path.rstrip("/").removesuffix(end))
    private = policy.trusts(url)
    if not private:
        _check_addresses(str(url.host), int(url.port or 0))
    shown = url.host_subcomponent or ""
    return Endpoint(str(url).rstrip("/"), f"{url.scheme}://{shown}:{url.port}", shown, private)


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL that was read before."""
    found = URL(url)
    return f"{found.scheme}://{found.host_subcomponent}:{found.port}"


def _check_addresses(host: str, port: int) -> None:
    """Refuse a name that leads to an address which is not public, if it can be looked up soon."""
    from evaluators.runtimes.endpoint.guard import denied

    for address in _addresses(host, port):
        if why := denied(address):
            reason = f"{host} is at {address}, not a public address ({why})"
            raise BadModel(model="endpoint", reason=reason)


def _addresses(host: str, port: int) -> set[str]:
    """Look a name up; empty when there is no answer in time, which the worker finds out as well."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="lookup")
    with suppress(OSError, UnicodeError, LookupTimeout):
        asked = pool.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        pool.shutdown(wait=False)
        return {str(entry[4][0]) for entry in asked.result(LOOKUP_SECONDS)}
    return set()


def _further_ports() -> list[int]:
    return list(settings.REDRAFT_ENDPOINT_PORTS)
