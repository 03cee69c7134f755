"""Controls of a run: drawn from the same samples, made once, and never at the method's expense."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from evaluators.formats.results import to_identity
from evaluators.model import SampleResult
from evaluators.registry import load_evaluator
from evaluators.runtimes import ModelSpec
from evaluators.session import Method, Part, Plan, Report, Watcher, run_plan
from evaluators.tasks import TaskSpec

TASK = "echo_flips"
ECHO = {"sample": True}


async def evaluated(
    *names: str, watcher: Watcher | None = None, controls: bool = True, **params: int
) -> Report:
    evaluators = [load_evaluator(name) for name in names]
    methods = tuple(
        Method(e, e.bind({k: v for k, v in params.items() if k in e.params.model_fields}))
        for e in evaluators
    )
    plan = Plan(
        ModelSpec("echo", "echo", ECHO), methods, (TaskSpec(TASK),), {TASK: 6}, controls=controls
    )
    return await run_plan(plan, watcher)


def draws(results: Sequence[SampleResult]) -> list[list[tuple[int | None, str]]]:
    """Return seed and text of every sampled answer, sample by sample."""
    return [
        [
            (node.sampling.seed, node.text)
            for node in result.nodes
            if node.sampling and node.kind == "answer" and node.sampling.temperature
        ]
        for result in results
    ]


@pytest.fixture(scope="module")
def report() -> Report:
    return asyncio.run(evaluated("reask", "review_improve", rounds=2))


class TestSharing:
    async def test_smaller_votes_are_the_first_samples_of_larger_ones(self, report: Report) -> None:
        few = draws(report.results["self_consistency@3", TASK])
        many = draws(report.results["self_consistency@5", TASK])
        assert {len(one) for one in few} == {3}
        assert [some[:3] for some in many] == few
        assert len({seed for one in many for seed, _ in one}) == 5 * 6

    async def test_every_draw_is_computed_once(self, report: Report) -> None:
        names = [m.name for m in report.control_methods if m.name.partition("@")[0] in SAMPLERS]
        assert sorted(names) == [
            "bon_logprob@3", "bon_logprob@5", "self_consistency@3", "self_consistency@5",
        ]  # fmt: skip
        made = [
            node
            for name in names
            for result in report.results[name, TASK]
            for node in result.nodes
            if node.usage and not node.cached
        ]
        assert len(made) == 5 * 6

    async def test_a_greedy_control_of_a_greedy_first_answer_costs_nothing(
        self, report: Report
    ) -> None:
        greedy = report.results["single_pass", TASK]
        assert [result.tokens_computed for result in greedy] == [0] * 6
        firsts = [result.answers[0].text for result in report.results["reask", TASK]]
        assert [result.answers[0].text for result in greedy] == firsts

    async def test_best_of_n_weighs_what_a_method_has_drawn_before_it(self) -> None:
        report = await evaluated("universal_sc", samples=4)
        (best,) = [m.name for m in report.control_methods if m.evaluator.name == "bon_logprob"]
        drawn = draws(report.results["universal_sc", TASK])
        weighed = report.results[best, TASK]
        assert [some[:4] for some in draws(weighed)] == drawn
        assert {len(some) for some in draws(weighed)} == {5}
        cached = [[node.cached for node in result.nodes if node.usage] for result in weighed]
        assert [some[:4] for some in cached] == [[True] * 4] * 6
        assert all(None not in result.facts["scores"] for result in weighed)

    async def test_controls_share_draws_at_a_temperature_of_the_methods_own(self) -> None:
        load = load_evaluator("universal_sc")
        method = Method(load, load.bind({"samples": 3, "temperature": 1.0}))
        plan = Plan(
            ModelSpec("echo", "echo", ECHO),
            (method,),
            (TaskSpec(TASK, temperature=0.5),),
            {TASK: 6},
        )
        report = await run_plan(plan)
        drawn = draws(report.results["universal_sc", TASK])
        for name in ("self_consistency@4-t1.0", "bon_logprob@4-t1.0"):
            shared = [some[:3] for some in draws(report.results[name, TASK])]
            assert shared == drawn


SAMPLERS = {"bon_logprob", "self_consistency"}


class TestRuns:
    async def test_methods_stay_what_they_are_without_controls(self, report: Report) -> None:
        alone = await evaluated("reask", "review_improve", rounds=2, controls=False)
        assert list(alone.results) == [("reask", TASK), ("review_improve", TASK)]
        assert alone.compared("reask", TASK) == []
        for key, results in alone.results.items():
            assert [*map(to_identity, results)] == [*map(to_identity, report.results[key])]

    async def test_equal_controls_of_two_methods_are_one_run(self) -> None:
        report = await evaluated("reask", "two_turn_neutral")
        held = [
            [one.run for one in report.controls[name, TASK]]
            for name in ("reask", "two_turn_neutral")
        ]
        assert held[0] == held[1] == [
            "single_pass", "self_consistency@2", "self_consistency@2", "bon_logprob@2",
            "null_turn@1",
        ]  # fmt: skip
        assert len(report.control_methods) == 4

    async def test_a_method_asked_for_is_the_control(self) -> None:
        report = await evaluated("reask", "single_pass", "self_consistency", samples=2)
        runs = [one.run for one in report.controls["reask", TASK]]
        assert runs[:3] == ["single_pass", "self_consistency", "self_consistency"]
        assert {m.name for m in report.control_methods} == {"bon_logprob@2", "null_turn@1"}

    async def test_controls_of_controls_there_are_none(self, report: Report) -> None:
        assert set(report.controls) == {("reask", TASK), ("review_improve", TASK)}

    async def test_are_told_to_whoever_watches_before_they_are_done(self) -> None:
        told: list[str] = []

        class Told(Watcher):
            def planned(self, parts: Sequence[Part]) -> None:
                told.extend(f"plan {part.method.name}" for part in parts)

            def control(self, part: Part) -> None:
                told.append(f"control {part.method.name} {part.planned}")

            async def result(self, part: Part, result: SampleResult) -> None:
                del result
                if part.method.control and f"control {part.method.name} 6" not in told:
                    pytest.fail(f"{part.method.name} came before it was told")

        await evaluated("reask", watcher=Told())
        assert told[0] == "plan reask"
        assert sorted(told[1:]) == [
            "control bon_logprob@2 6", "control null_turn@1 6", "control self_consistency@2 6",
            "control single_pass 6",
        ]  # fmt: skip


class TestCompared:
    async def test_at_the_same_calls(self, report: Report) -> None:
        found = {one.kind: one for one in report.compared("review_improve", TASK)}
        assert list(found) == ["greedy", "sc_calls", "sc_tokens", "best_of_n", "null_turn"]
        for kind in ("sc_calls", "best_of_n", "null_turn"):
            assert found[kind].of_method("calls").value == 5
            assert found[kind].of_control("calls").value == 5
        assert found["greedy"].of_control("calls").value == 1
        assert found["greedy"].paired.n == 6

    async def test_a_macro_mean_over_one_task_is_the_tasks_own(self, report: Report) -> None:
        macro = report.macro("reask")
        for one in report.compared("reask", TASK):
            assert macro[one.kind].value == one.difference.value
