"""What all calls have in common, and the way to a child on a Unix socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.runtimes.client import Transport, decode, words_of
from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, serve

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with TemporaryDirectory(prefix="rd") as folder:
        yield Path(folder) / "s"


async def asked(socket: Path, options: StubOptions, content: str = "hello") -> Any:
    body = {"model": "stub", "messages": [{"role": "user", "content": content}]}
    async with serve(options, socket=socket):
        transport = Transport(socket)
        try:
            return await transport.ask("POST", "/v1/chat/completions", body)
        finally:
            await transport.close()


class TestTransport:
    @pytest.mark.parametrize("length", [5, 3 << 20])
    async def test_carries_a_request_and_its_answer(self, socket, length):
        answer = await asked(socket, StubOptions(), "x" * length)
        assert answer["choices"][0]["message"]["content"] == "x" * length

    async def test_a_refusal_has_the_server_s_words(self, socket):
        with pytest.raises(CallRefused) as caught:
            await asked(socket, StubOptions(model="other"))
        assert caught.value.data == {"status": 404, "reason": "The model `stub` does not exist."}

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ("500", "HTTP 500: out of order"),
            ("cut", "the answer is not JSON"),
            ("nan", "the answer is not JSON (NaN is no number)"),
            ("type", "the answer is not JSON"),
            ("close", "the runtime does not answer"),
        ],
    )
    async def test_a_fault_is_no_answer(self, socket, fault, reason):
        options = StubOptions(faults=FaultOptions(rates={fault: 1.0}))
        with pytest.raises(RuntimeUnavailable) as caught:
            await asked(socket, options)
        assert caught.value.data["reason"].startswith(reason)

    async def test_refuses_after_the_end(self, socket):
        transport = Transport(socket)
        with pytest.raises(RuntimeUnavailable, match="does not answer"):
            await transport.ask("GET", "/health")
        await transport.close()
        with pytest.raises(RuntimeUnavailable, match="has been stopped"):
            await transport.ask("GET", "/health")


class TestDecoding:
    @given(st.dictionaries(st.text(), JSON))
    def test_reads_what_json_says(self, value):
        assert decode(json.dumps(value).encode()) == value

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"", "the answer is not JSON"),
            (b'{"a": 1', "the answer is not JSON"),
            (b'{"a": NaN}', "the answer is not JSON (NaN is no number)"),
            (b'{"a": -Infinity}', "the answer is not JSON (-Infinity is no number)"),
            (b"\xff\xfe", "the answer is not JSON"),
            (b"[]", "the answer is not a JSON object: b'[]'"),
            (b"null", "the answer is not a JSON object: b'null'"),
            (b"[" * 100_000, "the answer is not JSON (nested too deeply)"),
        ],
        ids=["nothing", "half", "NaN", "infinity", "no text", "list", "null", "deep"],
    )
    def test_refuses_what_is_no_object(self, raw, reason):
        with pytest.raises(RuntimeUnavailable) as caught:
            decode(raw)
        assert caught.value.data["reason"].startswith(reason)


class TestWords:
    @pytest.mark.parametrize(
        ("raw", "words"),
        [
            (b'{"error": {"message": "too long", "code": 1}}', "too long"),
            (b'{"error": "too long"}', "too long"),
            (b'{"message": "too long"}', "too long"),
            (b'{"object": "error", "message": "too long"}', "too long"),
            (b'{"detail": "Not Found"}', "Not Found"),
            (b'{"detail": [{"msg": "x"}]}', '{"detail": [{"msg": "x"}]}'),
            (b'{"error": {"code": 7}}', '{"error": {"code": 7}}'),
            (b"<h1>Bad Gateway</h1>\r\n", "<h1>Bad Gateway</h1>"),
            (b"", ""),
            ("a\u202eb\x00c\x1b[31m".encode(), "a b c [31m"),
        ],
        ids=str,
    )
    def test_finds_them_wherever_they_stand(self, raw, words):
        assert words_of(raw) == words

    @given(st.binary(max_size=3000))
    def test_are_always_one_short_printable_line(self, raw):
        words = words_of(raw)
        assert len(words) <= 300
        assert words.isprintable()
