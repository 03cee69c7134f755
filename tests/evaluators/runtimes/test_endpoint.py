"""An endpoint from its arguments to its answers, against a stub on the loopback interface."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from evaluators.engine import call_key
from evaluators.errors import BadModel, CallRefused, RuntimeUnavailable
from evaluators.model import (
    CAPABILITIES,
    LikelihoodRequest,
    Usage,
    assistant,
    system,
    user,
)
from evaluators.runtimes import (
    EgressPolicy,
    ModelSpec,
    open_runtime,
    parse_model_args,
    preflight,
    runtime_kind,
)
from evaluators.runtimes.endpoint.options import EndpointOptions
from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, serve
from tests.evaluators.runtimes.endpoints import EVERYTHING, KEY, ask, opened, spec_of


class TestArguments:
    URL = "https://host.example/v1"

    def test_reads_what_the_command_line_says(self):
        text = (
            "base_url=http://127.0.0.1:8000/v1/chat/completions/,model=42,num_concurrent=32,"
            "timeout=600,max_retries=3,api_key_env=MY_KEY,omit=seed+top_p,context_window=4096"
        )
        spec = ModelSpec("endpoint", "endpoint", parse_model_args(text))
        found = preflight(spec)
        assert (found.label, found.context_window, found.has_chat_template) == ("42", 4096, True)
        assert dict(runtime_kind("endpoint").identity(spec)) == {
            "base_url": "http://127.0.0.1:8000/v1",
            "model": "42",
            "api": "chat",
            "omit": ["seed", "top_p"],
        }

    @pytest.mark.parametrize(("api", "template"), [("chat", True), ("completions", False)])
    def test_the_route_tells_whether_there_is_a_chat(self, api, template):
        assert preflight(spec_of(self.URL, api=api)).has_chat_template is template

    @pytest.mark.parametrize(
        ("args", "reason"),
        [
            ({}, "an endpoint needs base_url=…"),
            ({"base_url": URL}, "an endpoint needs model=…"),
            ({"base_url": URL, "model": ""}, "model: String should have at least 1 character"),
            ({"base_url": "host/v1", "model": "m"}, "base_url: it must begin with https://"),
            (
                {"base_url": "https://u:p@host/v1", "model": "m"},
                "base_url: it must not hold a user name or password",
            ),
            (
                {"base_url": f"{URL}?key={KEY}", "model": "m"},
                "base_url: it must have neither query nor fragment",
            ),
            (
                {"base_url": URL, "model": "m", "num_concurent": 3},
                "an endpoint has no argument 'num_concurent'; did you mean num_concurrent?",
            ),
            ({"base_url": URL, "model": "m", "api_key": KEY}, "an endpoint has no argument"),
            ({"base_url": URL, "model": "m", "max_retries": 6}, "max_retries: Input should be"),
            ({"base_url": URL, "model": "m", "num_concurrent": 0}, "num_concurrent: Input should"),
            ({"base_url": URL, "model": "m", "timeout": 0}, "timeout: Input should be greater"),
            ({"base_url": URL, "model": "m", "omit": "seed+sead"}, "omit: sead is none of"),
            ({"base_url": URL, "model": "m", "api": "responses"}, "api: Input should be 'chat'"),
        ],
    )
    def test_refuses_bad_arguments_without_calling(self, args, reason):
        with pytest.raises(BadModel) as caught:
            preflight(ModelSpec("endpoint", "endpoint", args))
        assert caught.value.data["reason"].startswith(reason)
        assert KEY not in str(caught.value)


class TestDocument:
    TEXT = (Path(__file__).resolve().parents[3] / "docs" / "endpoints.md").read_text()

    def rows(self, heading: str) -> list[list[str]]:
        section = self.TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
        lines = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
        return [[cell.strip() for cell in line] for line in lines[2:]]

    def test_lists_every_argument_with_its_default(self):
        told = {name.strip("`"): default.strip("`") for name, default, _ in self.rows("Arguments")}
        fields = EndpointOptions.model_fields
        assert list(told) == list(fields)
        for name, field in fields.items():
            if isinstance(field.default, str | int | float):
                assert type(field.default)(told[name]) == field.default, name

    def test_lists_every_capability(self):
        told = {
            name.strip("` ")
            for cell, _ in self.rows("What is found out at the start")
            for name in cell.split(",")
        }
        assert told == set(CAPABILITIES) - {"full_vocab_stats"}


class TestProbe:
    async def test_finds_what_a_full_endpoint_can_do(self):
        async with opened() as (model, _):
            assert model.capabilities == {
                "chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "n",
            }  # fmt: skip
            info = model.info
        assert (info.label, info.batch_size, info.isolation) == ("stub", 8, "none")
        assert (info.stable, info.exact_usage, info.has_chat_template) == (False, True, True)
        assert set(info.notes) == {"echo"}
        assert model.pid is None

    async def test_completions_echo_and_have_no_chat(self):
        async with opened(api="completions") as (model, _):
            assert model.capabilities == {
                "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "n", "echo",
            }  # fmt: skip
            assert not model.info.has_chat_template

    @pytest.mark.parametrize(
        ("can", "lacking", "why"),
        [
            ("logprobs", {"token_logprobs", "top_logprobs", "label_likelihood"}, "token_logprobs"),
            ("n", {"n"}, "n"),
            ("prefix", {"prefix"}, "prefix"),
        ],
    )
    async def test_what_is_refused_is_lacking(self, can, lacking, why):
        async with opened() as (model, _):
            everything = model.capabilities
        async with opened(StubOptions(can=EVERYTHING - {can})) as (model, _):
            assert everything - model.capabilities == lacking
            assert why in model.info.notes

    async def test_what_is_ignored_is_lacking(self):
        ignored = frozenset({"logprobs", "n", "prefix"})
        async with opened(StubOptions(ignores=ignored)) as (model, _):
            assert model.capabilities == {"chat"}
            told = "the endpoint takes the request and does something else"
            assert {model.info.notes[name] for name in ("token_logprobs", "n", "prefix")} == {told}

    async def test_a_prefix_may_do_without_parameters(self):
        refuses = frozenset({"continue_final_message"})
        async with opened(StubOptions(refuses=refuses)) as (model, _):
            assert "prefix" in model.capabilities
            chat = [user("say after me: red green blue"), assistant("red green")]
            assert (await model.complete(ask(*chat))).text == " blue"

    async def test_few_alternatives_do_not_tell_labels(self):
        async with opened(StubOptions(top_logprobs=1)) as (model, _):
            assert {"token_logprobs", "top_logprobs"} <= model.capabilities
            assert "label_likelihood" not in model.capabilities
            with pytest.raises(CallRefused, match="lacks 2 alternatives per token"):
                await model.complete(ask(user("hello"), logprobs=2))

    async def test_what_is_out_of_order_is_not_there_and_not_refused(self):
        async with opened(StubOptions(breaks=frozenset({"n"}))) as (model, _):
            assert "n" not in model.capabilities
            assert model.info.notes["n"] == "not available: HTTP 500: out of order (tried 3 times)"

    async def test_does_without_a_list_of_models(self):
        async with opened(StubOptions(can=EVERYTHING - {"models"})) as (model, _):
            assert "chat" in model.capabilities

    @pytest.mark.parametrize(("api", "other"), [("chat", "completions"), ("completions", "chat")])
    async def test_refuses_a_route_that_is_not_there_and_names_the_other(self, api, other):
        with pytest.raises(BadModel) as caught:
            async with opened(StubOptions(can=EVERYTHING - {api}), api=api):
                pass
        reason = f"HTTP 404: Not Found (give api={other}, which it serves)"
        assert caught.value.data["reason"] == reason

    async def test_completions_refuse_conversations(self):
        async with opened(api="completions") as (model, _):
            assert (await model.complete(ask(user("hello")))).text == "hello"
            with pytest.raises(CallRefused, match="without a chat template cannot converse"):
                await model.complete(ask(system("be brief"), user("hello")))

    async def test_takes_the_newer_name_of_the_token_limit(self):
        async with opened(StubOptions(refuses=frozenset({"max_tokens"}))) as (model, _):
            cut = await model.complete(ask(user("one two three"), max_tokens=2))
        assert (cut.text, cut.finish_reason) == ("one two", "length")

    async def test_refuses_a_parameter_at_the_call_that_needs_it(self):
        async with opened(StubOptions(refuses=frozenset({"seed"}))) as (model, stub):
            assert (await model.complete(ask(user("greedy")))).text == "greedy"
            before = stub.calls
            with pytest.raises(CallRefused) as caught:
                await model.complete(ask(user("drawn"), temperature=1.0, seed=7))
            assert stub.calls == before
        assert caught.value.data["reason"] == (
            "the endpoint refuses seed: HTTP 400: Unsupported parameter: 'seed' is not supported "
            "with this model."
        )

    async def test_leaves_out_what_it_is_told_to_leave_out(self):
        refuses = frozenset({"seed", "temperature"})
        async with opened(StubOptions(refuses=refuses), omit="seed+temperature") as (model, _):
            drawn = await model.complete(ask(user("drawn"), temperature=1.0, seed=7))
        assert drawn.text == "drawn"

    async def test_asks_for_no_log_probabilities_where_they_are_left_out(self):
        for api in ("chat", "completions"):
            async with opened(omit="logprobs", api=api) as (model, _):
                told = model.capabilities
            assert told.isdisjoint({"token_logprobs", "top_logprobs", "label_likelihood", "echo"})

    async def test_refuses_an_endpoint_that_cannot_be_greedy(self):
        with pytest.raises(BadModel, match="it refuses temperature=0, so it cannot be greedy"):
            async with opened(StubOptions(refuses=frozenset({"temperature"}))):
                pass

    async def test_refuses_a_model_that_is_not_there_and_names_one_that_is(self):
        with pytest.raises(BadModel) as caught:
            async with opened(StubOptions(model="stub-large")):
                pass
        assert caught.value.data["reason"] == (
            "HTTP 404: The model `stub` does not exist. (it serves stub-large)"
        )

    async def test_refuses_an_endpoint_that_is_not_there(self):
        async with serve() as stub:
            spec = spec_of(stub.url)
        with pytest.raises(RuntimeUnavailable, match=r"cannot connect to 127\.0\.0\.1"):
            async with open_runtime(spec, policy=EgressPolicy.trusting()):
                pass

    async def test_refuses_a_private_address_unless_it_is_trusted(self):
        async with serve() as stub:
            with pytest.raises(BadModel, match="its URL is refused: it must be https"):
                async with open_runtime(spec_of(stub.url)):
                    pass
            assert stub.headers == []


class TestAnswers:
    async def test_follows_the_conversation_and_counts(self):
        async with opened() as (model, _):
            script = user("Choose <<first one|second one>> now")
            first = await model.complete(ask(script))
            again = await model.complete(ask(script, assistant(first.text), user("And again?")))
        assert (first.text, again.text) == ("first one", "second one")
        assert (first.finish_reason, first.usage) == ("stop", Usage(5, 2))
        assert first.seconds > 0

    async def test_stops_where_it_is_told_to(self):
        async with opened() as (model, _):
            stopped = await model.complete(ask(user("one two three"), stop=(" three",)))
        assert stopped.text == "one two"

    async def test_continues_a_prefix(self):
        async with opened() as (model, _):
            chat = [user("say after me: red green blue"), assistant("red green")]
            assert (await model.complete(ask(*chat))).text == " blue"

    async def test_refuses_a_prefix_that_it_would_ignore(self):
        async with opened(StubOptions(can=EVERYTHING - {"prefix"})) as (model, _):
            with pytest.raises(CallRefused, match="lacks going on with a given beginning"):
                await model.complete(ask(user("hello"), assistant("I say")))

    async def test_tells_log_probabilities(self):
        async with opened() as (model, _):
            told = await model.complete(ask(user("<<red blue|green>>"), logprobs=2))
            bare = await model.complete(ask(user("<<red blue|green>>"), logprobs=0))
        assert [entry.token for entry in told.logprobs] == ["red", " blue"]
        assert [[name for name, _ in entry.top] for entry in told.logprobs] == [
            ["red", "green"],
            [" blue", "red"],
        ]
        assert [entry.top for entry in bare.logprobs] == [(), ()]
        assert [entry.logprob for entry in bare.logprobs] == [e.logprob for e in told.logprobs]

    async def test_weighs_labels(self):
        request = LikelihoodRequest((user("Which? <<B|A|C>>"),), ("A", "B", "C"), labels=True)
        async with opened() as (model, _):
            found = await model.likelihood(request)
        assert [choice.text for choice in found.choices] == ["A", "B", "C"]
        assert [choice.greedy for choice in found.choices] == [False, True, False]
        by_text = {choice.text: choice.logprob for choice in found.choices}
        assert by_text["B"] - by_text["A"] == pytest.approx(2.0)
        assert by_text["B"] - by_text["C"] == pytest.approx(4.0)
        assert found.usage == Usage(2, 0)

    async def test_refuses_a_label_that_is_not_among_the_likeliest(self):
        request = LikelihoodRequest((user("Which? <<A|B>>"),), ("A", "Z"), labels=True)
        async with opened() as (model, _):
            with pytest.raises(CallRefused, match="the label 'Z' is not among the 20 likeliest"):
                await model.likelihood(request)

    async def test_weighs_texts_by_their_echo(self):
        request = LikelihoodRequest((user("One two"),), (" three", " three four"))
        async with opened(api="completions") as (model, _):
            short, long = (await model.likelihood(request)).choices
        assert (short.tokens, long.tokens) == (1, 2)
        assert long.logprob < short.logprob < 0
        assert short.greedy

    async def test_refuses_to_weigh_texts_in_a_chat(self):
        request = LikelihoodRequest((user("One two"),), (" three",))
        async with opened() as (model, _):
            with pytest.raises(CallRefused, match="lacks likelihoods of texts"):
                await model.likelihood(request)

    async def test_a_missing_count_of_tokens_is_not_taken_for_one(self):
        async with opened(StubOptions(can=EVERYTHING - {"usage"})) as (model, _):
            assert not model.info.exact_usage
            assert (await model.complete(ask(user("hello")))).usage == Usage(0, 0)

    @pytest.mark.parametrize("fault", ["usage", "no-usage"])
    async def test_a_count_that_cannot_be_true_is_not_taken_for_one(self, fault):
        async with opened() as (model, stub):
            assert model.info.exact_usage
            stub.options = StubOptions(faults=FaultOptions(rates={fault: 1.0}))
            answer = await model.complete(ask(user("hello")))
            assert (answer.text, answer.usage) == ("hello", Usage(0, 0))
            assert not model.info.exact_usage


class TestCalls:
    async def test_bounds_the_calls_in_flight(self):
        options = StubOptions(delay=0.05)
        async with opened(options, num_concurrent=4) as (model, stub):
            assert model.info.batch_size == 4
            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(model.complete(ask(user(str(number)))))
            assert stub.most_at_once == 4
        assert time.monotonic() - started >= 5 * 0.05

    async def test_waits_as_long_as_it_is_asked_to(self):
        async with opened(backoff=0) as (model, stub):
            looks = FaultOptions(rates={"429": 1.0}, retry_after=0.3)
            stub.options = StubOptions(faults=looks, faults_in_a_row=1)
            started = time.monotonic()
            assert (await model.complete(ask(user("hello")))).text == "hello"
        assert 0.3 <= time.monotonic() - started < 2

    @pytest.mark.parametrize("fault", ["429", "429-date"])
    async def test_does_not_wait_longer_than_its_deadline(self, fault):
        async with opened(deadline=5) as (model, stub):
            looks = FaultOptions(rates={fault: 1.0}, retry_after=3600)
            stub.options = StubOptions(faults=looks)
            with pytest.raises(
                RuntimeUnavailable, match=r"tried once, and it asks to wait 3[56]\d\d s"
            ):
                await model.complete(ask(user("hello")))

    async def test_a_large_request_is_sent_again_in_full(self):
        text = "x" * (1 << 20)
        async with opened() as (model, stub):
            stub.options = StubOptions(faults=FaultOptions(rates={"500": 1.0}), faults_in_a_row=1)
            assert (await model.complete(ask(user(text)))).text == text

    async def test_a_key_that_is_withdrawn_ends_the_run(self):
        async with opened(StubOptions(key=KEY), secret=KEY) as (model, stub):
            stub.options = StubOptions(key="another")
            with pytest.raises(BadModel) as caught:
                await model.complete(ask(user("hello")))
        assert caught.value.data["reason"] == ("HTTP 401: Incorrect API key provided: Bearer [key]")

    async def test_a_request_alone_that_is_forbidden_is_refused_alone(self):
        async with opened(StubOptions(forbids="bomb")) as (model, _):
            with pytest.raises(CallRefused, match="HTTP 403: flagged"):
                await model.complete(ask(user("how to build a bomb")))
            assert (await model.complete(ask(user("hello")))).text == "hello"

    async def test_a_closed_connection_answers_nothing(self):
        async with opened(StubOptions(delay=0.2)) as (model, _):
            flying = asyncio.create_task(model.complete(ask(user("hello"))))
            await asyncio.sleep(0.05)
            await model.kill()
            with pytest.raises(RuntimeUnavailable):
                await flying
            assert not model.alive()
            assert await model.wait_dead() == 0
            with pytest.raises(RuntimeUnavailable, match="has been closed"):
                await model.complete(ask(user("hello")))


class TestIdentity:
    async def test_two_endpoints_never_share_answers(self):
        async with opened() as (one, _), opened() as (other, _), opened(omit="seed") as (third, _):
            models = [one, other, third]
            keys = {call_key(model.fingerprint, ask(user("hello"))) for model in models}
        assert len(keys) == 3

    async def test_speed_is_no_part_of_it(self):
        async with serve() as stub:
            fingerprints = set()
            for args in ({}, {"num_concurrent": 2, "timeout": 3, "max_retries": 1}):
                spec = spec_of(stub.url, **args)
                async with open_runtime(spec, policy=EgressPolicy.trusting()) as model:
                    fingerprints.add(model.fingerprint)
        assert len(fingerprints) == 1

    async def test_the_name_that_the_server_gives_its_configuration_is_part_of_it(self):
        async with serve() as stub:
            fingerprints = set()
            for name in ("fp_1", "fp_2"):
                stub.options = StubOptions(system_fingerprint=name)
                async with open_runtime(spec_of(stub.url), policy=EgressPolicy.trusting()) as model:
                    assert model.info.versions == {"system_fingerprint": name}
                    fingerprints.add(model.fingerprint)
        assert len(fingerprints) == 2
