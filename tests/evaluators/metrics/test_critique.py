"""Worth of critiques: baselines of the benchmarks, and figures counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import Any

import pytest

from evaluators.metrics import Trajectory, decompose, get, guessing_f1, macro
from evaluators.metrics.judgement import NO_MISTAKE, Judgement

FromCells = Callable[..., list[Trajectory]]

REALCRITIC = {"arc-challenge": 131, "gsm8k": 136, "math": 134, "mmlu_stem": 146}
"""Given solutions that are right, by set."""

BIG_BENCH = {
    "dyck_languages": (986, 336),
    "logical_deduction": (300, 6),
    "multistep_arithmetic": (300, 62),
    "tracking_shuffled_objects": (300, 40),
    "word_sorting": (300, 34),
}
"""Traces, and those without mistake, by set."""


def figure(name: str, trajectories: list[Trajectory]) -> Any:
    return get(name).compute(trajectories)


@pytest.fixture
def data() -> Callable[[str], list[dict[str, Any]]]:
    shared = Path(environ.get("REDRAFT_SHARED", Path(__file__).parents[4] / "shared"))

    def rows(name: str) -> list[dict[str, Any]]:
        path = shared / "data" / name
        if not path.exists():
            pytest.skip(f"{path} is absent; set REDRAFT_SHARED to the folder with the data")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return rows


class TestPublishedBaselines:
    def test_keeping_every_given_solution_of_realcritic(self, data) -> None:
        """Each corrected answer is the given one: the table is the keep-all baseline."""
        found = {}
        everything = []
        for name in REALCRITIC:
            labels = [row["previous_score"][0] for row in data(f"realcritic/{name}.jsonl")]
            kept = [
                Trajectory(f"{name}/{i}", (right, right), task=name)
                for i, right in enumerate(labels)
            ]
            found[name] = decompose(kept)
            everything += [Trajectory(t.id, t.correct) for t in kept]
        assert {name: f["acc@1"].numerator for name, f in found.items()} == REALCRITIC
        assert [f["delta"].value for f in found.values()] == [0, 0, 0, 0]
        micro = decompose(everything)
        assert round(100 * micro["acc@1"].value, 2) == 49.91
        assert (micro["CL"].value, micro["CS"].value) == (1, 0)
        assert round(100 * macro(found)["acc@1"].value, 2) == 49.91
        assert round(100 * figure("over_half", everything).value, 2) == -0.09

    def test_guessing_on_criticbench(self) -> None:
        assert round(100 * guessing_f1(1 - 0.4837), 2) == 50.80
        judged = [Trajectory(str(i), (i >= 1975,), judgements=(Judgement(i >= 1975, None),))
                  for i in range(3825)]  # fmt: skip
        assert round(100 * figure("verdict_F1_guessed", judged).value, 2) == 50.80

    @pytest.mark.parametrize("name", BIG_BENCH)
    def test_finding_no_mistake_in_big_bench_mistake(self, data, name: str) -> None:
        rows = data(f"big_bench_mistake/{name}.jsonl")
        gold = [NO_MISTAKE if r["mistake_index"] is None else r["mistake_index"] for r in rows]
        said = [Judgement(False, "correct", location=-1, gold_location=g) for g in gold]
        judged = [Trajectory(str(i), (False,), judgements=(j,)) for i, j in enumerate(said)]
        located = figure("location_acc", judged)
        assert (located.denominator, located.numerator) == BIG_BENCH[name]


class TestVerdicts:
    def judged(self, *said: tuple[bool, Any]) -> list[Trajectory]:
        return [
            Trajectory(str(i), (right,), judgements=(Judgement(right, verdict),))
            for i, (right, verdict) in enumerate(said)
        ]

    def test_an_unreadable_one_counts_as_correct_for_luo(self) -> None:
        said = self.judged((True, None), (False, None), (False, "wrong"), (True, "correct"))
        assert figure("verdict_acc", said).numerator == 2
        lenient = figure("verdict_acc_lenient", said)
        assert (lenient.numerator, lenient.denominator, lenient.method) == (3, 4, "wilson")
        assert figure("verdict_unparsed", said).numerator == 2

    def test_are_null_without_any(self, from_cells: FromCells) -> None:
        for name in ("verdict_acc_lenient", "verdict_F1_guessed"):
            assert figure(name, from_cells(cc=2)).reason == "no verdict was given"

    def test_guessing_is_null_where_nothing_is_wrong(self) -> None:
        assert figure("verdict_F1_guessed", self.judged((True, None))).value is None


class TestOverHalf:
    def test_moves_the_interval_with_the_value(self, from_cells: FromCells) -> None:
        cells = from_cells(cc=30, ci=10, ic=20, ii=20)
        found, accuracy = figure("over_half", cells), figure("acc@last", cells)
        assert found.value == pytest.approx(0.125)
        assert (found.low, found.high) == (accuracy.low - 0.5, accuracy.high - 0.5)
        assert (found.numerator, found.n) == (None, 80)

    def test_is_null_where_nothing_was_scored(self) -> None:
        assert figure("over_half", []).reason == "no sample was scored"

    @pytest.mark.parametrize(("own", "value"), [(True, None), (False, 0.5)])
    def test_is_of_given_solutions_alone(self, own: bool, value: float | None) -> None:
        """Of a model's own answers no half is right by design."""
        assert figure("over_half", noted({"own": own}, {"own": own})).value == value


class TestErrorReduction:
    def test_is_the_share_of_errors_taken_away(self, from_cells: FromCells) -> None:
        """Luo et al., GSM8K: of 20 errors 5 are fixed, one new one is made."""
        found = figure("error_reduction", from_cells(cc=79, ci=1, ic=5, ii=15))
        assert (found.numerator, found.denominator, found.value) == (4, 20, 0.2)
        assert found.low < 0.2 < found.high

    @pytest.mark.parametrize(
        ("cells", "reason"),
        [({"cc": 3}, "no answer was wrong at first"), ({}, "no sample was scored")],
    )
    def test_is_null_without_errors(self, from_cells: FromCells, cells, reason) -> None:
        assert figure("error_reduction", from_cells(**cells)).reason == reason

    def test_is_null_with_one_answer(self) -> None:
        found = figure("error_reduction", [Trajectory("0", (False,))])
        assert found.reason == "one answer only: nothing to compare it with"


def noted(*facts: dict[str, Any]) -> list[Trajectory]:
    return [Trajectory(str(i), (True,), facts=fact) for i, fact in enumerate(facts)]


class TestNotes:
    @pytest.mark.parametrize("name", ["critique_qualified", "critique_unlabelled"])
    def test_an_unreadable_label_counts_against_a_critique_and_is_counted(self, name: str) -> None:
        told = [{"qualified": said} for said in (True, False, False, None)]
        found = figure(name, noted(*told, {}))
        assert (found.numerator, found.denominator, found.n) == (1, 4, 5)

    def test_missing_corrections_are_counted(self) -> None:
        told = [{"correction_missing": True}, {"correction_missing": False}]
        found = figure("correction_missing", noted(*told))
        assert (found.numerator, found.denominator) == (1, 2)

    @pytest.mark.parametrize(
        "name", ["critique_qualified", "critique_unlabelled", "correction_missing"]
    )
    def test_are_null_where_nothing_was_noted(self, name: str) -> None:
        assert figure(name, noted({}, {})).value is None
        assert figure(name, []).reason == "no sample was scored"


class TestCertainty:
    def test_a_unanimous_vote_is_the_most_certain(self) -> None:
        """Of four pairs of a right and a wrong vote the right one is surer in three."""
        votes = [(True, None), (True, 0.7), (False, 1.1), (False, 0.0)]
        told = [
            Trajectory(str(i), (right, right), facts={"certainty": sure})
            for i, (right, sure) in enumerate(votes)
        ]
        found = figure("certainty_AUROC", told)
        assert (found.value, found.n, found.method) == (0.75, 4, "hanley-mcneil")

    def test_is_null_without_any(self) -> None:
        assert figure("certainty_AUROC", noted({})).reason == "no certainty was noted"
        assert figure("certainty_AUROC", noted({"certainty": 0.1})).value is None


class TestContradictions:
    PAIRS = noted(
        {"contradictory": True, "noticed": True, "settled": True},
        {"contradictory": True, "noticed": True, "settled": False},
        {"contradictory": True, "noticed": False, "settled": None},
        {"contradictory": True, "noticed": None, "settled": None},
        {"contradictory": False, "noticed": True, "settled": True},
        {"contradictory": False, "noticed": False, "settled": None},
        {"contradictory": None, "noticed": True, "settled": True},
    )

    @pytest.mark.parametrize(
        ("name", "above", "below"),
        [
            ("contradiction_rate", 4, 6),
            ("contradiction_P", 2, 3),
            ("contradiction_R", 2, 4),
            ("contradiction_F1", 4, 7),
            ("contradiction_unread", 1, 7),
            ("contradiction_removed", 1, 4),
        ],
    )
    def test_are_counted(self, name: str, above: int, below: int) -> None:
        found = figure(name, self.PAIRS)
        assert (found.numerator, found.denominator) == (above, below)
        assert found.value == pytest.approx(above / below)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("contradiction_rate", "no pair had two answers that could be extracted"),
            ("contradiction_P", "no contradiction was noticed"),
            ("contradiction_R", "no two answers contradict each other"),
            ("contradiction_F1", "no two answers contradict each other"),
            ("contradiction_removed", "no two answers contradict each other"),
        ],
    )
    def test_are_null_without_denominator(self, name: str, reason: str) -> None:
        none = {"contradictory": None, "noticed": None, "settled": None}
        assert figure(name, noted(none)).reason == reason


def test_an_evaluators_own_metrics_never_replace_those_of_every_run(from_cells: FromCells) -> None:
    metric = replace(get("acc@1"), compute=get("CS").compute)
    found = decompose(from_cells(cc=2), metrics=[metric])
    assert found["acc@1"].value == 1
