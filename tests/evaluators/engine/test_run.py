"""The engine: every sample flows on its own, and its fate is its own."""

import asyncio
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.api import Context, Outcome, Sample, assistant, evaluator, metrics, user
from evaluators.engine import Limits, SharedModel, evaluate
from evaluators.errors import BadParameter, CallRefused, ContextTooLong, RuntimeUnavailable
from evaluators.evaluator import Evaluator
from evaluators.formats.results import to_identity
from evaluators.model import ChatRequest, Completion, SampleResult, Sampling
from evaluators.testing import ScriptedModel, ScriptedTask


@evaluator(metrics=[*metrics.decomposition])
async def twice(ctx: Context, sample: Sample, *, rounds: int = 1) -> Outcome:
    """Ask, and ask again."""
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for _ in range(rounds):
        chat += [answers[-1].message, user("Again?")]
        answers.append(await ctx.generate(chat))
    return Outcome(answers)


@evaluator(metrics=[*metrics.decomposition])
async def sampled(ctx: Context, sample: Sample) -> Outcome:
    """Draw three at a time."""
    return Outcome(await ctx.generate_many(sample.messages, 3, temperature=1.0))


def varied(request: ChatRequest) -> str:
    """Reply as a function of the request alone, as a deterministic model does."""
    return f"Answer: {hash((request.messages, request.sampling)) % 5}"


async def run(
    method: Evaluator, model: object, *, count: int = 4, limits: Limits | None = None, **options
) -> list[SampleResult]:
    task = ScriptedTask({str(n): str(n % 5) for n in range(count)})
    results: list[SampleResult] = []

    async def keep(result: SampleResult) -> None:
        results.append(result)

    await evaluate(
        method,
        {},
        task=task,
        samples=await task.samples(),
        models={"actor": model},
        sink=keep,
        limits=limits,
        **options,
    )
    return sorted(results, key=lambda result: (int(result.sample.id), result.replicate))


class TestResults:
    async def test_grade_every_answer(self) -> None:
        (result,) = await run(twice, ScriptedModel(["Answer: 3", "Answer: 0"]), count=1)
        assert [answer.grade.correct for answer in result.answers] == [False, True]
        assert [answer.changed for answer in result.answers] == [False, True]
        assert result.calls == 2
        assert [node.parents for node in result.nodes] == [(), (0,)]
        assert [node.round for node in result.nodes] == [0, 1]

    async def test_hold_no_gold_where_evaluators_look(self) -> None:
        seen: list[str] = []

        @evaluator(metrics=[*metrics.decomposition])
        async def nosy(ctx: Context, sample: Sample) -> Outcome:
            """Look around."""
            seen.append(repr(sample))
            return Outcome([await ctx.generate(sample.messages)])

        task = ScriptedTask({"q": "the-gold-answer"})
        await evaluate(
            nosy,
            {},
            task=task,
            samples=await task.samples(),
            models={"actor": ScriptedModel(["x"])},
            sink=_drop,
        )
        assert "the-gold-answer" not in seen[0]

    @settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(in_flight=st.integers(1, 9), delays=st.lists(st.integers(0, 3), min_size=6, max_size=6))
    def test_do_not_depend_on_concurrency_or_order(self, in_flight: int, delays: list[int]) -> None:
        class Uneven(ScriptedModel):
            async def complete(self, request):  # type: ignore[no-untyped-def]  # a double of a double
                for _ in range(delays[len(str(request)) % 6]):
                    await asyncio.sleep(0)
                return await super().complete(request)

        async def identity(bound: int, model: ScriptedModel) -> str:
            found = await run(sampled, SharedModel(model), count=6, limits=Limits(bound))
            return json.dumps([to_identity(result) for result in found], sort_keys=True)

        alone = asyncio.run(identity(1, ScriptedModel(varied)))
        assert asyncio.run(identity(in_flight, Uneven(varied))) == alone

    async def test_replicates_draw_different_seeds(self) -> None:
        results = await run(sampled, ScriptedModel(varied), count=1, replicates=2)
        seeds = [node.sampling.seed for result in results for node in result.nodes]
        assert len(set(seeds)) == 6

    async def test_first_sampled_answers_are_shared_between_methods(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def other(ctx: Context, sample: Sample) -> Outcome:
            """Draw two, one after the other."""
            return Outcome([await ctx.generate(sample.messages, temperature=1.0) for _ in "ab"])

        ours = await run(sampled, ScriptedModel(varied), count=1)
        theirs = await run(other, ScriptedModel(varied), count=1)
        first_two = [node.sampling for node in ours[0].nodes[:2]]
        assert [node.sampling for node in theirs[0].nodes] == first_two


async def _drop(_: SampleResult) -> None:
    return None


class TestFailures:
    async def test_of_a_plugin_stay_with_its_sample(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def brittle(ctx: Context, sample: Sample) -> Outcome:
            """Break on one sample."""
            if sample.id == "1":
                raise ZeroDivisionError("by zero")
            return Outcome([await ctx.generate(sample.messages)])

        results = await run(brittle, ScriptedModel(["Answer: 0"]))
        assert [result.status for result in results] == ["ok", "unscored", "ok", "ok"]
        failure = results[1].failure
        assert failure is not None
        assert failure.error == "evaluator-crashed"
        assert "ZeroDivisionError: by zero" in failure.detail

    async def test_of_a_plugins_task_group_are_attributed_to_it(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def grouped(ctx: Context, sample: Sample) -> Outcome:
            """Break inside a group."""
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.generate(sample.messages))
                raise KeyError("inside")

        (result,) = await run(grouped, ScriptedModel(["x"]), count=1)
        assert result.failure is not None
        assert result.failure.error == "evaluator-crashed"
        assert "KeyError" in result.failure.detail

    async def test_of_what_it_returns_are_named(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def silent(ctx: Context, sample: Sample) -> Outcome:
            """Return nothing to grade."""
            return Outcome([])

        (result,) = await run(silent, ScriptedModel(["x"]), count=1)
        assert result.failure is not None
        assert result.failure.detail == "returned an outcome without answers"

    @pytest.mark.parametrize("fact", [float("nan"), object(), {1, 2}], ids=["nan", "object", "set"])
    async def test_of_facts_that_json_cannot_say_are_the_plugins(self, fact: object) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def chatty(ctx: Context, sample: Sample) -> Outcome:
            """Return a fact that cannot be stored."""
            return Outcome([await ctx.generate(sample.messages)], facts={"fact": fact})

        (result,) = await run(chatty, ScriptedModel(["Answer: 0"]), count=1)
        assert result.status == "unscored"
        assert result.failure is not None
        assert result.failure.detail.startswith("facts cannot be stored")

    async def test_refused_calls_leave_the_sample_unscored(self) -> None:
        def refuse(request: ChatRequest) -> str:
            raise CallRefused(status=400, reason="prompt of 9000 tokens in a window of 8192")

        (result,) = await run(twice, ScriptedModel(refuse), count=1)
        assert result.status == "unscored"
        assert result.failure is not None
        assert result.failure.detail == "prompt of 9000 tokens in a window of 8192"
        assert result.answers == ()

    async def test_a_dead_runtime_is_never_a_score_and_stops_the_run(self) -> None:
        results: list[SampleResult] = []
        task = ScriptedTask({str(n): "0" for n in range(50)})

        async def keep(result: SampleResult) -> None:
            results.append(result)

        with pytest.raises(RuntimeUnavailable):
            await evaluate(
                twice,
                {},
                task=task,
                samples=await task.samples(),
                models={"actor": ScriptedModel(["Answer: 0"], fail_after=20)},
                sink=keep,
                limits=Limits(in_flight=2),
            )
        lost = [result for result in results if result.status != "ok"]
        assert {result.status for result in lost} == {"infra_error"}
        assert 3 <= len(lost) < 8  # a sample that was already through may come between
        assert all(result.answers == () for result in lost)

    async def test_a_budget_ends_the_sample_only(self) -> None:
        results = await run(twice, ScriptedModel(["Answer: 0"]), limits=Limits(max_calls=1))
        assert {result.failure.error for result in results if result.failure} == {"budget-exceeded"}
        assert all(result.calls == 1 for result in results)

    async def test_a_model_that_answers_now_and_then_is_not_given_up(self) -> None:
        class Patchy(ScriptedModel):
            turn = asyncio.Lock()
            number = 0

            async def complete(self, request: ChatRequest) -> Completion:
                async with self.turn:  # every second call fails, in whatever order they come
                    self.number += 1
                    await asyncio.sleep(0)
                    if self.number % 2 == 0:
                        raise RuntimeUnavailable(reason="overloaded")
                    return await super().complete(request)

        class Unhurried(ScriptedTask):
            async def grade(self, sample_id, answers):
                await asyncio.sleep(0.05)  # failures come in before the first good sample does
                return await super().grade(sample_id, answers)

        task = Unhurried({str(number): "42" for number in range(32)})
        results: list[SampleResult] = []

        async def keep(result: SampleResult) -> None:
            results.append(result)

        await evaluate(
            twice,
            {"rounds": 0},
            task=task,
            samples=await task.samples(),
            models={"actor": Patchy(["Answer: 42"])},
            sink=keep,
            limits=Limits(in_flight=8),
        )
        counts = Counter(result.status for result in results)
        assert counts == {"ok": 16, "infra_error": 16}

    async def test_a_deadline_ends_the_sample_only(self) -> None:
        slow = ScriptedModel(["Answer: 0"], delay=5)
        results = await run(twice, slow, limits=Limits(sample_seconds=0.02))
        assert {result.failure.error for result in results if result.failure} == {"budget-exceeded"}

    async def test_a_timeout_of_the_plugin_is_the_plugins(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def impatient(ctx: Context, sample: Sample) -> Outcome:
            """Wait too little."""
            async with asyncio.timeout(0.01):
                return Outcome([await ctx.generate(sample.messages)])

        slow = ScriptedModel(["x"], delay=1)
        (result,) = await run(impatient, slow, count=1, limits=Limits(sample_seconds=10))
        assert result.failure is not None
        assert result.failure.error == "evaluator-crashed"

    async def test_of_the_sink_stop_the_run_and_cancel_what_flies(self) -> None:
        class FullError(Exception):
            pass

        async def full(_: SampleResult) -> None:
            raise FullError

        task = ScriptedTask({str(n): "0" for n in range(30)})
        with pytest.raises(FullError):
            await evaluate(
                twice,
                {},
                task=task,
                samples=await task.samples(),
                models={"actor": ScriptedModel(["x"], delay=0.01)},
                sink=full,
            )
        assert len(asyncio.all_tasks()) == 1

    async def test_refuses_bad_parameters_before_the_first_call(self) -> None:
        task = ScriptedTask()
        model = ScriptedModel(["x"])
        with pytest.raises(BadParameter) as refusal:
            await evaluate(
                twice,
                {"rounds": "many"},
                task=task,
                samples=await task.samples(),
                models={"actor": model},
                sink=_drop,
            )
        assert refusal.value.data["name"] == "rounds"
        assert model.requests == []


class TestOracle:
    async def test_marks_the_run_and_gated_nodes(self) -> None:
        @evaluator(metrics=[*metrics.decomposition], information="oracle")
        async def retry(ctx: Context, sample: Sample) -> Outcome:
            """Try again while gold says no."""
            answers = [await ctx.generate(sample.messages)]
            while not await ctx.oracle(answers[-1]):
                answers.append(
                    await ctx.generate([*sample.messages, answers[-1].message, user("No.")])
                )
            return Outcome(answers)

        (result,) = await run(retry, ScriptedModel(["Answer: 9", "Answer: 0"]), count=1)
        assert result.oracle
        assert [node.gated_by_gold for node in result.nodes] == [False, True]
        assert [node.sees_gold for node in result.nodes] == [False, False]

    async def test_reading_gold_is_seen(self) -> None:
        @evaluator(metrics=[*metrics.decomposition], information="oracle")
        async def peek(ctx: Context, sample: Sample) -> Outcome:
            """Show gold to the model."""
            first = await ctx.generate(sample.messages)
            verdict = await ctx.oracle(first)
            told = [*sample.messages, first.message, user(f"It is {verdict.gold}.")]
            return Outcome([first, await ctx.generate(told)])

        (result,) = await run(peek, ScriptedModel(["Answer: 9", "Answer: 0"]), count=1)
        assert [node.sees_gold for node in result.nodes] == [False, True]


class TestPrefix:
    async def test_opening_words_of_the_task_are_said_once(self) -> None:
        task = ScriptedTask()
        (plain,) = await task.samples()
        opened = replace(plain, messages=(*plain.messages, assistant("The answer is")))
        model = ScriptedModel([" Answer: 42"])
        results: list[SampleResult] = []

        async def keep(result: SampleResult) -> None:
            results.append(result)

        await evaluate(twice, {}, task=task, samples=[opened], models={"actor": model}, sink=keep)
        first, second = (request.messages for request in model.requests)
        assert first[-1].content == "The answer is"
        assert [m.content for m in second[-2:]] == ["The answer is Answer: 42", "Again?"]
        assert [m.role for m in second] == ["system", "user", "assistant", "user"]
        assert [node.kind for node in results[0].nodes] == ["answer", "answer"]
        assert results[0].nodes[1].parents == (0,)


class TestSampling:
    async def test_answers_follow_the_task_and_critiques_do_not(self) -> None:
        @evaluator(metrics=[*metrics.decomposition])
        async def reviewed(ctx: Context, sample: Sample) -> Outcome:
            """Answer, review."""
            first = await ctx.generate(sample.messages)
            await ctx.generate([*sample.messages, first.message, user("Review.")], kind="critique")
            return Outcome([first])

        task = ScriptedTask(sampling=Sampling(max_tokens=7, stop=("\n",)))
        model = ScriptedModel(["Answer: 42"])
        await evaluate(
            reviewed,
            {},
            task=task,
            samples=await task.samples(),
            models={"actor": model},
            sink=_drop,
        )
        answer, critique = (request.sampling for request in model.requests)
        assert (answer.max_tokens, answer.stop, answer.seed) == (7, ("\n",), None)
        assert critique.stop == ()
        assert critique.max_tokens > 7


class ShortSighted(ScriptedModel):
    """Takes no more than so many messages."""

    def __init__(self, most: int) -> None:
        super().__init__(["Answer: 42"])
        self.most = most

    async def complete(self, request: ChatRequest) -> Completion:
        if len(request.messages) > self.most:
            raise ContextTooLong(status=400, reason="more than the context window")
        return await super().complete(request)


@pytest.mark.parametrize(
    ("most", "policy", "status", "sent", "dropped"),
    [
        (6, "unscored", "ok", 6, None),
        (5, "unscored", "unscored", None, None),
        (5, "drop_examples", "ok", 4, 1),
        (2, "drop_examples", "ok", 2, 2),
        (1, "drop_examples", "unscored", None, None),
    ],
)
async def test_a_prompt_that_is_too_long(most, policy, status, sent, dropped) -> None:
    task = ScriptedTask()
    task.info = replace(task.info, overlong=policy)
    shots = [m for i in range(2) for m in (user(f"Example {i}"), assistant(f"Answer: {i}"))]
    plain = task.sample("0")
    sample = replace(plain, messages=(plain.messages[0], *shots, plain.messages[1]))
    results: list[SampleResult] = []

    async def keep(result: SampleResult) -> None:
        results.append(result)

    models = {"actor": ShortSighted(most)}
    await evaluate(twice, {"rounds": 0}, task=task, samples=[sample], models=models, sink=keep)
    (result,) = results
    assert result.status == status
    if status == "ok":
        (node,) = result.nodes
        assert (len(node.messages), node.payload.get("dropped_examples")) == (sent, dropped)
        assert node.messages[-1] == plain.messages[-1]
    else:
        assert result.failure is not None
        assert result.failure.error == "context-too-long"
