"""R13 and the endpoint's half of R14: what a bad endpoint does is never taken for an answer."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import pytest_asyncio

from evaluators.engine import Limits
from evaluators.errors import BadModel, RuntimeUnavailable
from evaluators.model import ChatRequest, SampleResult, Sampling, user
from evaluators.registry import load_evaluator
from evaluators.runtimes import EgressPolicy, ModelSpec, open_runtime
from evaluators.session import Method, Part, Plan, Report, Watcher, run_plan
from evaluators.tasks import TaskSpec
from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, StubServer, serve

SAMPLES = 96
RETRIES = 5
R13 = (
    "429", "429-date", "500", "hang", "drip", "cut", "type", "huge", "headers", "nan", "empty",
    "null", "close",
)  # fmt: skip
REASONS = {
    "429": "HTTP 429: slow down",
    "429-date": "HTTP 429: slow down",
    "500": "HTTP 500: out of order",
    "hang": "no whole answer within 1 s",
    "drip": "no whole answer within 1 s",
    "cut": "the answer is not JSON",
    "type": "the answer is text/html, not JSON: <html><title>Please sign in</title></html>",
    "huge": "the answer has more than 8388608 bytes",
    "headers": "the connection broke",
    "nan": "the answer is not JSON (NaN is no number)",
    "empty": "the answer lacks a choice",
    "null": "the answer's text is None",
    "close": "the connection broke",
}
QUICK = {"timeout": 1.0, "idle_timeout": 0.5, "backoff": 0.02, "num_concurrent": 32}


async def evaluated(stub: StubServer, watcher: Watcher | None = None, **args: float) -> Report:
    spec = ModelSpec(
        "endpoint", "endpoint", {"base_url": stub.url, "model": "stub", **QUICK, **args}
    )
    reask = load_evaluator("reask")
    plan = Plan(
        spec,
        (Method(reask, reask.bind({})),),
        (TaskSpec("echo_flips"),),
        {"echo_flips": SAMPLES},
        limits=Limits(in_flight=32),
        controls=False,
    )
    return await run_plan(plan, watcher)


def faults(rates: dict[str, float], *, seed: int = 0, **options: object) -> StubOptions:
    looks = FaultOptions(rates=rates, retry_after=0.05, drip_seconds=0.02)
    return StubOptions(faults=looks, seed=seed, **options)  # type: ignore[arg-type]  # a test's shorthand


Answers = tuple[str, str, list[tuple[str, bool]]]


def answers(report: Report) -> list[Answers]:
    (results,) = report.results.values()
    return [
        (
            result.sample.id,
            result.status,
            [(answer.text, answer.grade.correct) for answer in result.answers],
        )
        for result in results
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed() -> list[Answers]:
    async with serve() as stub:
        report = await evaluated(stub)
    assert Counter(status for _, status, _ in answers(report)) == {"ok": SAMPLES}
    return answers(report)


@pytest.mark.parametrize("seed", [1, 2])
async def test_with_faults_on_30_percent_of_calls_the_answers_are_the_same(seed, undisturbed):
    async with serve(faults(dict.fromkeys(R13, 0.3 / len(R13)), seed=seed)) as stub:
        report = await evaluated(stub)
        share = sum(stub.faulty.values()) / stub.calls
    assert answers(report) == undisturbed
    assert 0.2 < share < 0.4
    assert set(stub.faulty) == set(R13)
    assert max(stub.seen.values()) <= 1 + RETRIES


async def test_where_every_attempt_fails_the_sample_is_left_to_be_made_again(undisturbed):
    right = {sample: said for sample, _, said in undisturbed}
    seen: list[SampleResult] = []

    class Collect(Watcher):
        async def result(self, part: Part, result: SampleResult) -> None:
            seen.append(result)

    rates = dict.fromkeys(R13, 0.2 / len(R13))
    async with serve(faults(rates, faults_in_a_row=1000, seed=4)) as stub:
        await evaluated(stub, Collect(), max_retries=2)
    statuses = Counter(result.status for result in seen)
    assert statuses == {"ok": SAMPLES - 2, "infra_error": 2}
    for result in seen:
        if result.status == "ok":
            said = [(answer.text, answer.grade.correct) for answer in result.answers]
            assert said == right[result.sample.id]
        else:
            assert (result.answers, result.failure.error) == ((), "runtime-unavailable")
            assert "(tried 3 times" in result.failure.detail


@pytest.mark.parametrize("fault", R13)
async def test_a_fault_that_lasts_has_a_reason_and_no_answer(fault):
    args = {"base_url": "", "model": "stub", **QUICK, "max_retries": 1}
    ask = ChatRequest((user("hello"),), Sampling(logprobs=0))
    async with serve() as stub:
        spec = ModelSpec("endpoint", "endpoint", {**args, "base_url": stub.url})
        async with open_runtime(spec, policy=EgressPolicy.trusting()) as model:
            stub.options = faults({fault: 1.0})
            before = stub.calls
            with pytest.raises(RuntimeUnavailable) as caught:
                await model.complete(ask)
            assert stub.calls - before == 2
    reason = str(caught.value.data["reason"])
    assert REASONS[fault] in reason
    assert "(tried 2 times" in reason
    assert reason.isprintable()
    assert len(reason) < 500


async def test_an_endpoint_that_is_well_and_says_nothing_is_found_at_the_start():
    async with serve(StubOptions(silent_after=0)) as stub:
        started = time.monotonic()
        with pytest.raises(RuntimeUnavailable, match=r"no whole answer within 1 s"):
            await evaluated(stub, max_retries=1)
    assert time.monotonic() - started < 10


async def test_an_endpoint_that_falls_silent_ends_the_run_and_nothing_is_scored():
    async with serve(StubOptions(silent_after=40)) as stub:
        with pytest.raises(RuntimeUnavailable, match=r"no whole answer within 1 s"):
            await evaluated(stub, max_retries=1)


async def test_a_key_that_is_withdrawn_ends_the_run_with_its_reason():
    async with serve() as stub:

        class Withdraw(Watcher):
            async def result(self, part: Part, result: SampleResult) -> None:
                stub.options = StubOptions(key="another")

        with pytest.raises(BadModel, match="HTTP 401: Incorrect API key provided"):
            await evaluated(stub, Withdraw())
