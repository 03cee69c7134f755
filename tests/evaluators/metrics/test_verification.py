"""Verdicts and pairwise choices: published confusion tables, golden cases, nulls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.metrics import Estimate, Trajectory, decompose, get
from evaluators.metrics.judgement import NO_MISTAKE, Judgement
from evaluators.metrics.pairwise import TIE, Decision, judge_pairs
from evaluators.metrics.verification import Verdicts, verify

VALID, INVALID = "correct", "wrong"


def confusion(tp: int, fn: int, fp: int, tn: int) -> list[Judgement]:
    cells = [(True, VALID, tp), (True, INVALID, fn), (False, VALID, fp), (False, INVALID, tn)]
    return [Judgement(truth, said, None) for truth, said, count in cells for _ in range(count)]  # type: ignore[arg-type]  # literals above


@pytest.mark.cases("oracle_d_verifier_confusion.json", lambda data: data["cases"])
def test_published_confusion_tables(case: dict[str, Any]) -> None:
    cells = [case["inputs"][key] for key in ("TP", "FN", "FP", "TN")]
    found = verify(Verdicts(confusion(*cells)))
    names = {"accuracy": "verdict_acc", "TPR": "verdict_TPR", "FPR": "verdict_FPR"}
    for key, name in names.items():
        value = found[name].value
        assert value is not None
        assert round(100 * value, 1) == case["expected"][key], key
    assert found["verdict_acc"].n == case["expected"]["n"]
    assert found["verdict_FPR"].method == "wilson"


@pytest.mark.cases(
    "oracle_d_verifier_confusion.json",
    lambda data: [
        {"cap": data["backprompting"]["cap"]} | row
        for row in data["backprompting"]["rows"]
        if not row.get("reference_only")
    ],
)
def test_back_prompting(case: dict[str, Any]) -> None:
    """The answer after as many steps as it took; at the cap it is still wrong."""
    runs = [
        Trajectory(f"{steps}.{i}", (False,) * (int(steps) - 1) + (int(steps) < case["cap"],),
                   calls=int(steps))
        for steps, count in case["inputs"]["steps_histogram"].items()
        for i in range(count)
    ]  # fmt: skip
    found, expected = decompose(runs), case["expected"]
    assert found["acc@last"].numerator == expected["solved"]
    assert found["acc@1"].numerator == expected["solved_first_step"]
    solved = decompose([run for run in runs if run.correct[-1]])
    assert solved["calls"].value == pytest.approx(expected["mean_steps_when_solved"], abs=0.0005)


class TestVerdicts:
    def test_unread_verdicts_under_every_policy(self) -> None:
        said = [Judgement(True, None), Judgement(False, None), Judgement(False, "unsure")]
        accuracy = {
            unread: verify(Verdicts(said, unread=unread))["verdict_acc"]  # type: ignore[arg-type]  # literals below
            for unread in ("error", "correct", "wrong", "left_out")
        }
        assert accuracy["error"].value == 0
        assert accuracy["correct"].numerator == 1
        assert accuracy["wrong"].numerator == 2
        assert accuracy["left_out"].value is None
        found = verify(Verdicts(said, unread="left_out"))
        assert found["verdict_unparsed"].numerator == 2
        assert found["verdict_unsure"].numerator == 1

    def test_f1_of_the_class_wrong(self) -> None:
        """Four wrong, three of them caught, one right answer blamed: 6 / (6 + 1 + 1)."""
        found = verify(Verdicts(confusion(tp=5, fn=1, fp=1, tn=3)))["verdict_F1_wrong"]
        assert (found.value, found.numerator, found.denominator) == (0.75, 6, 8)
        assert found.method == "cluster bootstrap"

    def test_a_coin_reaches_the_published_baseline(self) -> None:
        """CriticBench: 48.37 % right, half of each called wrong, F1 50.80."""
        found = verify(Verdicts(confusion(4837, 4837, 5163, 5163)))
        value = found["verdict_F1_wrong"].value
        assert value is not None
        assert 100 * value == pytest.approx(50.80, abs=0.01)

    @pytest.mark.parametrize(
        ("erring", "sound", "f1"),
        [((47, 207), (181, 193), 36.56), ((227, 594), (287, 406), 49.61),
         ((179, 661), (183, 339), 36.07), ((212, 759), (132, 241), 37.00)],
    )  # fmt: skip
    def test_processbench(self, erring: tuple[int, int], sound: tuple[int, int], f1: float) -> None:
        rows = [
            Judgement(False, None, None, 3 if i < erring[0] else 4, 3) for i in range(erring[1])
        ]
        rows += [
            Judgement(True, None, None, NO_MISTAKE if i < sound[0] else None, NO_MISTAKE)
            for i in range(sound[1])
        ]
        found = verify(Verdicts(rows))
        assert found["location_acc_mistake"].numerator == erring[0]
        assert found["location_acc_sound"].numerator == sound[0]
        value = found["location_F1"].value
        assert value is not None
        assert 100 * value == pytest.approx(f1, abs=0.01)

    def test_location_f1_is_zero_where_nothing_is_found(self) -> None:
        rows = [Judgement(False, None, None, 1, 2), Judgement(True, None, None, 1, NO_MISTAKE)]
        assert verify(Verdicts(rows))["location_F1"].value == 0

    def test_null_rule(self) -> None:
        for found in (verify(Verdicts([])), verify(Verdicts([Judgement(True, "correct")]))):
            assert found["error_recall"].value is None
            assert found["location_acc"].value is None
            assert found["location_F1"].value is None
            assert found["verdict_AUROC"].value is None
            assert found["verdict_score"].reason == "no score was given"
        assert verify(Verdicts([]))["verdict_acc"].reason == "no verdict was given"

    def test_scores(self) -> None:
        scores = [0.95, 0.9, 0.8, 0.6, 0.55, 0.3]
        right = [True, True, False, True, False, False]
        found = verify(
            Verdicts([Judgement(r, None, s) for r, s in zip(right, scores, strict=True)])
        )
        assert found["verdict_AUROC"].value == pytest.approx(0.888889, abs=1e-6)
        assert found["verdict_AUROC"].method == "hanley-mcneil"
        assert found["verdict_Brier"].value == pytest.approx(0.200833, abs=1e-6)
        assert found["verdict_score"].value == pytest.approx(4.1 / 6)
        odds = verify(Verdicts([Judgement(True, None, 3.0), Judgement(False, None, -1.0)]))
        assert odds["verdict_Brier"].reason == "scores are no probabilities"
        assert odds["verdict_AUROC"].reason.startswith("the scores separate")

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.builds(
                Judgement,
                st.booleans(),
                st.sampled_from(["correct", "wrong", "unsure", None]),
                st.none() | st.floats(0, 1),
                st.none() | st.integers(-1, 3),
                st.none() | st.integers(-1, 3),
            ),
            max_size=12,
        ),
        st.sampled_from(["error", "correct", "wrong", "left_out"]),
    )
    def test_every_figure_is_a_share_or_null_with_a_reason(
        self, said: list[Judgement], unread: Any
    ) -> None:
        found = verify(Verdicts(said, clusters=[i // 2 for i in range(len(said))], unread=unread))
        for name, estimate in found.items():
            check_share(name, estimate)
        a, b = found["verdict_TPR"].value, found["verdict_FNR"].value
        assert a is b is None or (a is not None and b is not None and a + b == pytest.approx(1))
        assert found["verdict_TNR"] == found["error_recall"]

    def test_verdicts_of_a_run_are_metrics(self) -> None:
        said = (Judgement(False, "wrong"), Judgement(True, "correct"))
        found = decompose(
            [Trajectory("1", (False, True), judgements=said), Trajectory("2", (True,))]
        )
        assert found["verdict_acc"].numerator == 2
        assert found["verdict_acc"].method == "wilson over clusters"
        assert (
            get("error_recall").compute([Trajectory("2", (True,))]).reason == "no verdict was given"
        )
        assert "verdict_acc" not in decompose([Trajectory("2", (True,))]).estimates


def check_share(name: str, estimate: Estimate) -> None:
    if estimate.value is None:
        assert estimate.reason, name
        return
    assert 0 <= estimate.value <= 1, name
    if estimate.low is not None and estimate.high is not None:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, name
    else:
        assert estimate.reason, name
    json.dumps(estimate.to_json(), allow_nan=False)


def both(pair: str, one: str | None, other: str | None, gold: str = "a") -> list[Decision]:
    return [Decision(pair, "a", "b", one, gold), Decision(pair, "b", "a", other, gold)]


class TestPairs:
    def test_votes_and_strictness_differ(self) -> None:
        rows = [
            *both("right twice", "a", "a"),
            *both("right and tie", "a", TIE),
            *both("right and unread", None, "a"),
            *both("first both times", "a", "b"),
            *both("wrong twice", "b", "b"),
        ]
        found = judge_pairs(rows)
        assert found["pair_vote_acc"].numerator == 3
        assert found["pair_strict_acc"].numerator == 1
        assert found["pair_inconsistent"].numerator == 3
        assert found["pair_acc"].numerator == 5
        assert found["pair_win"].value == pytest.approx((5 + 2 / 2) / 10)
        assert (found["pair_first"].numerator, found["pair_first"].denominator) == (5, 8)
        assert found["pair_tie"].numerator == found["pair_unparsed"].numerator == 1

    def test_what_cannot_be_read_is_half_a_win_whatever_is_better(self) -> None:
        for gold in ("a", "tie"):
            found = judge_pairs(both("p", None, None, gold))["pair_win"]
            assert found.value == 0.5
            assert found.low is not None
            assert found.low < 0.1, "one pair alone proves little"

    def test_a_gold_tie_is_never_right_by_the_strict_rule(self) -> None:
        found = judge_pairs(both("tie", TIE, TIE, gold=TIE))
        assert found["pair_strict_acc"].value == 0
        assert found["pair_vote_acc"].value == 1

    def test_judgebench_arithmetic(self) -> None:
        """87 of 270 pairs of Claude-3-Haiku, 135 inconsistent."""
        rows = [d for i in range(87) for d in both(f"r{i}", "a", "a")]
        rows += [d for i in range(135) for d in both(f"i{i}", "a", "b")]
        rows += [d for i in range(48) for d in both(f"w{i}", "b", "b")]
        found = judge_pairs(rows)
        assert found["pair_vote_acc"].value == pytest.approx(0.3222, abs=5e-5)
        assert found["pair_inconsistent"].value == 0.5
        assert found["pair_vote_acc"].method == "wilson"

    def test_one_order_is_no_test_of_consistency(self) -> None:
        found = judge_pairs([Decision("p", "a", "b", "a", "a")])
        assert found["pair_inconsistent"].reason == "no pair was judged in both orders"
        assert found["pair_vote_acc"].value == 1
        assert judge_pairs([])["pair_acc"].reason == "no pair was judged"

    def test_pairs_that_a_figure_leaves_out_stay_in_its_total(self) -> None:
        found = judge_pairs([*both("p", "a", None), Decision("q", "a", "b", TIE, "a")])
        counts = {name: (found[name].n, found[name].n_total) for name in found}
        assert counts["pair_strict_acc"] == counts["pair_inconsistent"] == (1, 2)
        assert counts["pair_first"] == (1, 3)
        assert counts["pair_vote_acc"] == (2, 2)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(*[st.sampled_from(["a", "b", TIE, None])] * 2), max_size=8))
    def test_the_order_of_the_names_changes_nothing(self, rows: list[tuple[Any, Any]]) -> None:
        decisions = [d for i, row in enumerate(rows) for d in both(str(i), *row)]
        other = {"a": "b", "b": "a"}
        renamed = [
            Decision(
                d.pair, other[d.first], other[d.second], other.get(d.chosen or "", d.chosen), "b"
            )
            for d in decisions
        ]
        assert judge_pairs(decisions) == judge_pairs(renamed)
        for name, estimate in judge_pairs(decisions).items():
            check_share(name, estimate)
