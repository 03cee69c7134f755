"""What a result is held against follows from what it cost, and is said where it cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.controls import (
    PlannedControl,
    calls_at_most,
    controls_at_most,
    plan_controls,
    tokens_per_sample,
)
from evaluators.errors import NotInstalled
from evaluators.evaluator import CONTROLS, Control, Evaluator, evaluator
from evaluators.metrics import Trajectory
from evaluators.model import Outcome
from evaluators.registry import load_evaluator

ALL = frozenset({"chat", "prefix", "token_logprobs"})


def spent(
    *calls: int, tokens: int = 10, first: int | None = 10, scored: bool = True
) -> list[Trajectory]:
    """Return a trajectory per number of calls, each call of as many tokens."""
    return [
        Trajectory(
            str(i), (True, False), calls=n, tokens_out=n * tokens, tokens_first=first, scored=scored
        )
        for i, n in enumerate(calls)
    ]


def method(*controls: Control) -> Evaluator:
    @evaluator(metrics=[], controls=controls)
    async def looks_again(ctx: Any, sample: Any) -> Outcome:
        """Look again."""
        raise NotImplementedError

    return looks_again


def planned(
    trajectories: list[Trajectory], *controls: Control, **options: Any
) -> list[PlannedControl]:
    given = {"capabilities": ALL, "mode": "generate_until", **options}
    return list(plan_controls(method(*(controls or CONTROLS)), trajectories, **given))


class TestSizes:
    @pytest.mark.parametrize(
        ("calls", "labels"),
        [
            ((2, 2), ["single_pass", "self_consistency@2", "bon_logprob@2", "null_turn@1"]),
            ((3, 3), ["single_pass", "self_consistency@3", "bon_logprob@3", "null_turn@2"]),
            ((1, 9), ["single_pass", "self_consistency@5", "bon_logprob@5", "null_turn@4"]),
            ((2, 3), ["single_pass", "self_consistency@3", "bon_logprob@3", "null_turn@2"]),
            ((1, 1, 1, 3), ["single_pass", "self_consistency@2", "bon_logprob@2", "null_turn@1"]),
        ],
        ids=["two", "three", "mean", "half-is-up", "one-and-a-half"],
    )  # fmt: skip
    def test_follow_the_mean_of_calls(self, calls: tuple[int, ...], labels: list[str]) -> None:
        found = planned(spent(*calls), "greedy", "sc_calls", "best_of_n", "null_turn")
        assert [one.label for one in found] == labels
        assert {one.note for one in found} == {""}

    @pytest.mark.parametrize(
        ("tokens", "first", "samples"),
        [(10, 10, 4), (20, 10, 8), (6, 10, 2), (3, 10, 2), (10, 16, 3)],
        ids=["equal", "long-turns", "short-turns", "never-below-two", "rounded"],
    )
    def test_of_the_vote_for_tokens_follow_the_first_answer(
        self, tokens: int, first: int, samples: int
    ) -> None:
        (found,) = planned(spent(4, 4, tokens=tokens, first=first), "sc_tokens")
        assert (found.evaluator, found.params) == ("self_consistency", {"samples": samples})

    def test_of_the_vote_for_tokens_follow_what_a_sampled_answer_costs(self) -> None:
        vote, rough = planned(spent(9, tokens=30, first=9), "sc_calls", "sc_tokens")
        assert rough.params == {"samples": 30}
        tokens = tokens_per_sample(vote, [*spent(9, 9, tokens=18), *spent(9, scored=False)])
        assert tokens == 18
        (found,) = planned(spent(9, tokens=30, first=9), "sc_tokens", sampled_tokens=tokens)
        assert found.params == {"samples": 15}

    def test_leave_out_samples_without_a_score(self) -> None:
        found = planned([*spent(3, 3), *spent(9, scored=False)], "sc_calls")
        assert found[0].params == {"samples": 3}

    def test_are_capped_and_say_so(self) -> None:
        calls, tokens, nothing = planned(spent(70, tokens=20), "sc_calls", "sc_tokens", "null_turn")
        assert (calls.label, calls.note) == (
            "self_consistency@64", "64 samples where equal compute asks for 70",
        )  # fmt: skip
        assert (tokens.params, tokens.note) == (
            {"samples": 64}, "64 samples where equal compute asks for 140",
        )  # fmt: skip
        assert (nothing.label, nothing.note) == (
            "null_turn@16", "16 rounds where equal compute asks for 69",
        )  # fmt: skip

    def test_of_retries_follow_the_dearest_sample(self) -> None:
        (found,) = planned(spent(1, 1, 1, 1, 1, 5), "retry")
        assert (found.label, found.params) == ("retry@4", {"attempts": 4})

    def test_sample_at_the_tasks_temperature_and_share_its_first_answers(self) -> None:
        greedy, vote, best, nothing = planned(
            spent(3), "greedy", "sc_calls", "best_of_n", "null_turn", temperature=0.5
        )
        assert greedy.params == {"temperature": 0.0}
        assert vote.params == best.params == {"samples": 3, "temperature": 0.5}
        assert nothing.params == {"rounds": 2}
        assert [greedy.label, vote.label] == ["single_pass-t0.0", "self_consistency@3-t0.5"]

    @pytest.mark.parametrize("task", [0.0, 0.5])
    def test_sample_at_the_methods_own_temperature_where_it_has_one(self, task: float) -> None:
        greedy, vote, best, nothing = planned(
            spent(3), "greedy", "sc_calls", "best_of_n", "null_turn", temperature=task, drawn_at=1.0
        )
        assert greedy.params == ({"temperature": 0.0} if task else {})
        assert vote.params == best.params == {"samples": 3, "temperature": 1.0}
        assert nothing.params == {"rounds": 2}

    @pytest.mark.parametrize("drawn_at", [0.0, None])
    def test_sample_at_the_tasks_where_the_method_is_greedy(self, drawn_at: float | None) -> None:
        (vote,) = planned(spent(3), "sc_calls", temperature=0.5, drawn_at=drawn_at)
        assert vote.params == {"samples": 3, "temperature": 0.5}

    def test_name_no_temperature_that_is_theirs_anyway(self) -> None:
        (vote,) = planned(spent(3), "sc_calls", temperature=0.5, drawn_at=0.7)
        assert vote.label == "self_consistency@3"

    def test_are_missing_where_they_cannot_sample_like_that(self) -> None:
        greedy, vote = planned(spent(3), "greedy", "sc_calls", temperature=2.5)
        assert not greedy.missing
        assert vote.reason.startswith("self_consistency: ")

    def test_stand_the_evaluators_own_check(self) -> None:
        for one in planned(spent(70), temperature=1.0):
            assert load_evaluator(one.evaluator).bind(one.params)


@given(
    calls=st.lists(st.integers(1, 90), min_size=1, max_size=12),
    told=st.booleans(),
)
def test_sampling_controls_never_cost_more_than_the_rounded_mean(
    calls: list[int], told: bool
) -> None:
    able = ALL if told else ALL - {"token_logprobs"}
    found = planned(spent(*calls), "sc_calls", "best_of_n", capabilities=able)
    mean = sum(calls) / len(calls)
    for one in found:
        if not one.missing:
            evaluator = load_evaluator(one.evaluator)
            cost = calls_at_most(evaluator, evaluator.bind(one.params))
            assert cost is not None
            assert cost <= min(mean + 0.5, 2 * 64)
            assert one.note or cost >= mean - 1.5
    vote = found[0]
    assert vote.missing == (mean < 1.5)
    assert vote.missing or vote.note or abs(vote.params["samples"] - mean) <= 0.5  # type: ignore[operator]  # a size is a number


@given(
    calls=st.lists(st.integers(1, 200), min_size=1, max_size=12),
    tokens=st.integers(1, 500),
    told=st.booleans(),
    measured=st.booleans(),
    gated=st.booleans(),
)
def test_no_plan_costs_more_than_was_said_before(
    calls: list[int], tokens: int, told: bool, measured: bool, gated: bool
) -> None:
    kinds: tuple[Control, ...] = ("greedy", "retry") if gated else CONTROLS
    found = planned(
        spent(*calls, tokens=tokens),
        *kinds,
        capabilities=ALL if told else ALL - {"token_logprobs"},
        sampled_tokens=10.0 if measured else None,
    )
    cost = {"sc_tokens": 0, "others": 0}
    for one in found:
        if not one.missing:
            control = load_evaluator(one.evaluator)
            each = calls_at_most(control, control.bind(one.params))
            assert each is not None
            cost["sc_tokens" if one.kind == "sc_tokens" else "others"] += each
    said, vote = controls_at_most(method(*kinds), max(calls))
    assert cost["others"] <= said
    assert cost["sc_tokens"] <= vote


class TestBestOfN:
    WITHOUT = ALL - {"token_logprobs"}

    @pytest.mark.parametrize(("calls", "samples"), [(4, 2), (5, 2), (9, 4)])
    def test_is_rated_in_no_more_calls_where_log_probabilities_are_not_told(
        self, calls: int, samples: int
    ) -> None:
        (found,) = planned(spent(calls), "best_of_n", capabilities=self.WITHOUT)
        assert (found.evaluator, found.params) == ("best_of_n", {"samples": samples})
        assert calls_at_most(load_evaluator("best_of_n"), found.params) == 2 * samples <= calls

    def test_is_missing_where_rating_two_would_cost_more(self) -> None:
        (found,) = planned(spent(3), "best_of_n", capabilities=self.WITHOUT)
        assert found == PlannedControl(
            "best_of_n",
            reason="the runtime lacks token_logprobs, which bon_logprob needs; "
            "to rate two answers takes 4 calls, the method makes 3",
        )


class TestMissing:
    def test_likelihoods_have_no_controls(self) -> None:
        assert planned(spent(3), mode="likelihood") == []

    def test_nor_has_a_method_that_names_none(self) -> None:
        found = plan_controls(method(), spent(3), capabilities=ALL, mode="generate_until")
        assert found == ()

    def test_one_call_is_only_held_against_the_greedy_answer(self) -> None:
        greedy, *others = planned(spent(1, 1))
        assert greedy.label == "single_pass"
        assert {one.reason for one in others} == {
            "the method makes one call, as the greedy answer does"
        }

    @pytest.mark.parametrize(
        ("tokens", "label", "reason"),
        [
            (40, "self_consistency@4", ""),
            (14, "", "the method makes one call of about one answer's length"),
        ],
        ids=["long", "short"],
    )
    def test_one_call_is_held_against_a_vote_where_it_is_long(
        self, tokens: int, label: str, reason: str
    ) -> None:
        (greedy,) = planned(spent(1, tokens=tokens, first=tokens), "greedy")
        answer = tokens_per_sample(greedy, spent(1, 1, tokens=10))
        assert answer == 10
        (found,) = planned(
            spent(1, tokens=tokens, first=tokens), "sc_tokens", sampled_tokens=answer
        )
        assert (found.label, found.reason) == (label, reason)

    @pytest.mark.parametrize("trajectories", [[], spent(3, scored=False)], ids=["none", "unscored"])
    def test_nothing_scored(self, trajectories: list[Trajectory]) -> None:
        assert {one.reason for one in planned(trajectories)} == {
            "no sample of the method was scored"
        }

    @pytest.mark.parametrize("first", [None, 0], ids=["unknown", "given"])
    def test_tokens_of_a_first_answer_that_cost_none(self, first: int | None) -> None:
        (found,) = planned(spent(3, first=first), "sc_tokens")
        assert found.reason == "what one answer costs in tokens is not known"

    def test_what_is_not_installed_is_said_and_the_others_stay(self) -> None:
        def load(name: str) -> Evaluator:
            if name == "null_turn":
                raise NotInstalled(kind="evaluator", name=name, near=())
            return load_evaluator(name)

        found = {one.kind: one for one in planned(spent(3), load=load)}
        assert found["null_turn"].missing
        assert found["null_turn"].reason == "No evaluator named 'null_turn' is installed"
        assert not found["sc_calls"].missing

    def test_what_the_runtime_lacks_is_said(self) -> None:
        (found,) = planned(spent(3), "null_turn", capabilities=frozenset())
        assert found.reason == "the runtime lacks chat, which null_turn needs"

    def test_what_an_evaluator_cannot_be_told_is_said(self) -> None:
        def load(name: str) -> Evaluator:
            del name
            return method("greedy")

        (found,) = planned(spent(3), "sc_calls", load=load)
        assert found.reason.startswith("self_consistency: there is no such parameter")


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"capabilities": frozenset()}])
def test_plans_are_restored_exactly(options: dict[str, Any]) -> None:
    for one in planned(spent(70), **options):
        assert PlannedControl.from_json(json.loads(json.dumps(one.to_json()))) == one


class TestCallsAtMost:
    @pytest.mark.parametrize(
        ("name", "params", "calls"),
        [
            ("single_pass", {}, 1),
            ("reask", {"rounds": 3}, 4),
            ("review_improve", {"rounds": 2}, 5),
            ("self_refine", {"max_attempts": 4}, 9),
            ("self_consistency", {"samples": 7}, 7),
            ("null_turn", {"rounds": 2}, 3),
            ("reask_logits", {}, None),
        ],
    )
    def test_reads_what_the_docstring_says(
        self, name: str, params: dict[str, int], calls: int | None
    ) -> None:
        found = load_evaluator(name)
        assert calls_at_most(found, found.bind(params)) == calls

    @pytest.mark.parametrize(
        "words", ["", "Calls: it depends.", "Calls: 2 ** rounds.", "Calls: (."]
    )
    def test_knows_where_it_cannot(self, words: str) -> None:
        async def curious(ctx: Any, sample: Any, *, rounds: int = 3) -> Outcome:
            raise NotImplementedError

        curious.__doc__ = f"Look again.\n\n{words}\n"
        assert calls_at_most(evaluator(metrics=[])(curious), {"rounds": 3}) is None
