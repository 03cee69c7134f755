"""Keys of endpoints: sent to their host, shown nowhere."""

from __future__ import annotations

import logging
import traceback

import pytest

from evaluators.errors import BadModel, RedraftError, RuntimeUnavailable
from evaluators.model import user
from evaluators.runtimes import EgressPolicy, open_runtime
from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, serve
from tests.evaluators.runtimes.endpoints import KEY, ask, opened, spec_of


class TestKeys:
    async def test_is_sent_and_shown_nowhere(self, caplog):
        caplog.set_level(logging.DEBUG)
        async with opened(StubOptions(key=KEY), secret=KEY) as (model, stub):
            assert {headers["Authorization"] for headers in stub.headers} == {f"Bearer {KEY}"}
            parrot = await model.complete(ask(user(f"<<my key is {KEY}|no>>")))
            shown = [repr(model.info), repr(model), model.fingerprint, parrot.text]
            stub.options = StubOptions(key=KEY, faults=FaultOptions(rates={"close": 1.0}))
            with pytest.raises(RuntimeUnavailable) as caught:
                await model.complete(ask(user("hello")))
            stub.options = StubOptions(key=KEY, faults=FaultOptions(rates={"headers": 1.0}))
            with pytest.raises(RuntimeUnavailable) as worse:
                await model.complete(ask(user("hello again")))
        assert parrot.text == "my key is [key]"
        for error in (caught.value, worse.value):
            shown += [*_chain(error), "".join(traceback.format_exception(error))]
        assert [text for text in [*shown, caplog.text] if KEY in text] == []

    async def test_a_wrong_key_is_refused_and_not_repeated(self):
        with pytest.raises(BadModel) as caught:
            async with opened(StubOptions(key="right"), secret=KEY):
                pass
        assert caught.value.data["reason"] == "HTTP 401: Incorrect API key provided: Bearer [key]"
        assert [text for text in _chain(caught.value) if KEY in text] == []

    async def test_comes_from_the_variable_that_is_named(self, monkeypatch):
        monkeypatch.setenv("MY_KEY", KEY)
        async with opened(StubOptions(key=KEY), api_key_env="MY_KEY") as (model, _):
            assert (await model.complete(ask(user("hello")))).text == "hello"

    async def test_a_server_looks_into_no_variable(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("DATABASE_PASSWORD", KEY)
        async with serve() as stub:
            port = stub.url.split(":")[2].split("/")[0]
            policy = EgressPolicy.guarded([f"127.0.0.1:{port}"])
            for args in ({}, {"api_key_env": "DATABASE_PASSWORD"}):
                async with open_runtime(spec_of(stub.url, **args), policy=policy):
                    pass
            assert all("Authorization" not in headers for headers in stub.headers)

    async def test_refuses_an_empty_variable_that_is_named(self, monkeypatch):
        monkeypatch.delenv("MY_KEY", raising=False)
        with pytest.raises(BadModel, match="variable MY_KEY, which is empty"):
            async with opened(api_key_env="MY_KEY"):
                pass

    @pytest.mark.parametrize("key", ["sk-1\r\nHost: evil", "sk 1", "schlüssel"])
    async def test_refuses_a_key_that_fits_into_no_header(self, key):
        with pytest.raises(BadModel) as caught:
            async with opened(secret=key):
                pass
        assert key not in str(caught.value)


def _chain(error: BaseException | None) -> list[str]:
    """What an error and everything behind it say of themselves."""
    told = []
    while error is not None:
        data = error.data if isinstance(error, RedraftError) else ""
        told += [str(error), repr(error), repr(error.args), repr(data)]
        error = error.__cause__ or error.__context__
    return told
