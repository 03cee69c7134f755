"""S2: nobody reaches an address that is not public by naming it to us, however it is written."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import BadModel, RuntimeUnavailable
from evaluators.runtimes.endpoint.guard import EgressPolicy, denied
from evaluators.runtimes.endpoint.options import read_options
from evaluators.runtimes.endpoint.transport import EndpointTransport
from evaluators.runtimes.spec import ModelSpec
from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, serve

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "ssrf"
KEY = "sk-canary"
PUBLIC = "93.184.215.14"


def cases(name: str) -> list[Any]:
    listed = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["id"]) for case in listed]


class Watch:
    """Sees every connection that this process tries to make, below all libraries."""

    def __init__(self) -> None:
        self.tried: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.tried is None or event != "socket.connect":
            return
        _, place = arguments
        self.tried.append(str(place[0]))
        if place[0] != "127.0.0.1":
            raise ConnectionRefusedError("no test talks to the outside")


WATCH = Watch()


@pytest.fixture
def tried() -> Iterator[list[str]]:
    """Addresses that were connected to, in order."""
    WATCH.tried = []
    yield WATCH.tried
    WATCH.tried = None


class Names(AbstractResolver):
    """A name server that answers from a script, the last answer for ever."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def endpoint(
    url: str, policy: EgressPolicy, *, names: Names | None = None
) -> AsyncIterator[EndpointTransport]:
    if names is not None:
        policy = EgressPolicy(policy.guard, policy.allow, policy.ports, lambda: names)
    args = {"base_url": url, "model": "stub", "max_retries": 0, "timeout": 5}
    options = read_options(ModelSpec("endpoint", "endpoint", args))
    transport = EndpointTransport(options, secret=KEY, policy=policy, concurrency=1)
    try:
        yield transport
    finally:
        await transport.close()


async def call(transport: EndpointTransport) -> Any:
    return await transport.call("/models", None, method="GET", read=lambda answer: answer)


def test_the_corpus_is_large():
    assert sum(len(cases(name)) for name in ("addresses", "urls")) >= 200


@pytest.mark.parametrize("case", cases("addresses"))
def test_addresses(case):
    assert (denied(case["address"]) is None) is case["public"]


@given(st.ip_addresses(v=4))
def test_no_ipv4_hides_inside_ipv6(address):
    plain = denied(str(address))
    bits = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
    assert denied(f"::ffff:{address}") == plain
    assert denied(f"64:ff9b::{bits}") == plain
    assert denied(f"2002:{bits}::1") == plain


@pytest.mark.parametrize("case", cases("urls"))
def test_urls(case):
    assert EgressPolicy.guarded(case.get("allow", ())).refusal(case["url"]) == case["reason"]


@pytest.mark.parametrize(
    "entry", ["host", "host:", ":80", "http://host:80", "host:80/v1", "u@host:80", "::1:80", "*:80"]
)
def test_refuses_an_allow_list_entry_that_is_no_host_and_port(entry):
    if entry == "*:80":  # a host of that name and no other: nothing here is a pattern
        assert EgressPolicy.guarded([entry]).refusal("http://host:80/") == "it must be https"
        return
    with pytest.raises(ValueError, match="not host:port"):
        EgressPolicy.guarded([entry])


def test_the_command_line_trusts_its_user():
    for url in ("http://127.0.0.1:8000/v1", "https://10.0.0.1/v1", "http://[::1]/"):
        assert EgressPolicy.trusting().refusal(url) is None
    assert EgressPolicy.trusting().refusal("ftp://host/") is not None


@pytest.mark.enable_socket
class TestConnections:
    """What is really connected to."""

    async def test_the_watch_sees_connections(self, tried):
        async with serve() as stub, endpoint(stub.url, EgressPolicy.trusting()) as transport:
            assert (await call(transport))["data"][0]["id"] == "stub"
        assert tried == ["127.0.0.1"]

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "ⓛocalhost"])
    async def test_refuses_names_of_this_machine(self, host, tried):
        async with endpoint(f"https://{host}/v1", EgressPolicy.guarded()) as transport:
            with pytest.raises(BadModel, match="not a public address"):
                await call(transport)
        assert tried == []

    @pytest.mark.parametrize(
        "case", [c for c in cases("addresses") if "not an address" not in c.values[0]["id"]]
    )
    async def test_names_lead_to_public_addresses_only(self, case, tried):
        address = case["address"]
        policy = EgressPolicy.guarded()
        async with endpoint("https://innocent.example/v1", policy, names=Names([address])) as way:
            if case["public"]:
                with pytest.raises(RuntimeUnavailable, match="cannot connect"):
                    await call(way)
            else:
                with pytest.raises(BadModel, match="not a public address"):
                    await call(way)
        assert tried == ([address] if case["public"] else [])

    @pytest.mark.parametrize("case", [c for c in cases("urls") if c.values[0]["reason"]])
    async def test_refuses_urls_before_any_lookup(self, case, tried):
        names = Names([PUBLIC])
        with pytest.raises(BadModel):
            async with endpoint(
                case["url"], EgressPolicy.guarded(case.get("allow", ())), names=names
            ):
                pass
        assert (tried, names.asked) == ([], [])

    @pytest.mark.parametrize(
        "answer",
        [
            [PUBLIC, "127.0.0.1"],
            ["127.0.0.1", PUBLIC],
            [PUBLIC, "::1"],
            [PUBLIC, "::ffff:10.0.0.1"],
        ],
        ids=str,
    )
    async def test_refuses_a_name_with_one_address_that_is_not_public(self, answer, tried):
        async with endpoint(
            "https://mixed.example/v1", EgressPolicy.guarded(), names=Names(answer)
        ) as way:
            with pytest.raises(BadModel, match="not a public address"):
                await call(way)
        assert tried == []

    async def test_a_second_answer_of_the_name_server_does_not_matter(self, tried):
        names = Names([PUBLIC], ["127.0.0.1"])
        async with endpoint(
            "https://rebind.example/v1", EgressPolicy.guarded(), names=names
        ) as way:
            with pytest.raises(RuntimeUnavailable, match="cannot connect"):
                await call(way)
            assert (names.asked, tried) == (["rebind.example"], [PUBLIC])
        async with endpoint(
            "https://rebind.example/v1", EgressPolicy.guarded(), names=names
        ) as way:
            with pytest.raises(BadModel, match=r"rebind\.example is at 127\.0\.0\.1"):
                await call(way)
        assert tried == [PUBLIC]

    @pytest.mark.parametrize(
        "answer", [OSError("no such name"), socket.gaierror(-2, "unknown"), []], ids=repr
    )
    async def test_refuses_a_name_that_does_not_resolve(self, answer, tried):
        async with endpoint(
            "https://nowhere.example/v1", EgressPolicy.guarded(), names=Names(answer)
        ) as way:
            with pytest.raises((RuntimeUnavailable, BadModel), match=r"nowhere\.example"):
                await call(way)
        assert tried == []

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirects_are_not_followed(self, status, tried):
        async with serve() as inner:

            async def away(request: web.Request) -> web.Response:
                return web.Response(status=status, headers={"Location": f"{inner.url}/models"})

            app = web.Application()
            app.router.add_get("/v1/models", away)
            async with site(app) as port:
                policy = EgressPolicy.guarded([f"127.0.0.1:{port}"])
                async with endpoint(f"http://127.0.0.1:{port}/v1", policy) as way:
                    with pytest.raises(RuntimeUnavailable, match="redirects are not followed"):
                        await call(way)
            assert inner.headers == []
        assert tried == ["127.0.0.1"]

    async def test_a_redirect_of_an_answer_is_not_followed_either(self, tried):
        faults = FaultOptions(rates={"redirect": 1.0}, redirect_to="http://10.0.0.1/")
        body = {"model": "stub", "messages": [{"role": "user", "content": "hello"}]}
        async with (
            serve(StubOptions(faults=faults)) as stub,
            endpoint(stub.url, EgressPolicy.trusting()) as way,
        ):
            with pytest.raises(RuntimeUnavailable, match=r"10\.0\.0\.1"):
                await way.call("/chat/completions", body, read=lambda answer: answer)
        assert set(tried) == {"127.0.0.1"}

    async def test_no_proxy_is_taken_from_the_environment(self, tried, monkeypatch):
        async with serve() as proxy, serve() as stub:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            async with endpoint(stub.url, EgressPolicy.trusting()) as way:
                await call(way)
            assert (len(stub.headers), len(proxy.headers)) == (1, 0)

    async def test_an_allowed_host_may_be_anywhere_and_keeps_its_name(self, tried):
        async with serve() as stub:
            port = stub.url.split(":")[2].split("/")[0]
            policy = EgressPolicy.guarded([f"model.internal:{port}"])
            names = Names(["127.0.0.1"])
            async with endpoint(f"http://model.internal:{port}/v1", policy, names=names) as way:
                await call(way)
            assert stub.headers[0]["Host"] == f"model.internal:{port}"
        assert (names.asked, tried) == (["model.internal"], ["127.0.0.1"])

    async def test_tls_is_asked_for_by_name_and_certificates_count(self, tried, tmp_path):
        asked: list[str | None] = []
        app = web.Application()
        async with site(app, tls=self_signed(tmp_path, "model.internal", asked)) as port:
            policy = EgressPolicy.guarded([f"model.internal:{port}"])
            async with endpoint(
                f"https://model.internal:{port}/v1", policy, names=Names(["127.0.0.1"])
            ) as way:
                with pytest.raises(BadModel, match=r"certificate of model\.internal is bad"):
                    await call(way)
        assert asked == ["model.internal"]


@asynccontextmanager
async def site(app: web.Application, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def self_signed(folder: Path, name: str, asked: list[str | None]) -> ssl.SSLContext:
    x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "own.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.sni_callback = lambda _socket, wanted, _context: asked.append(wanted)
    return context
