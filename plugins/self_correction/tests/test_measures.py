"""What came of verdicts, counted by hand."""

import pytest

from evaluators.api import Evaluator, metrics
from evaluators.testing import play
from redraft_self_correction.ask_refine_trust import ask_refine_trust
from redraft_self_correction.in_response_verify import in_response_verify
from redraft_self_correction.progco import progco
from redraft_self_correction.two_turn_neutral import two_turn_neutral

RIGHT, WRONG = "Answer: 42", "Answer: 41"
APPROVED, REJECTED = "Verdict: correct", "Verdict: wrong"


async def rows(method: Evaluator, scripts: list[list[str]]) -> list[metrics.Trajectory]:
    from dataclasses import replace

    results = [await play(method, script) for script in scripts]
    found = [metrics.Trajectory.from_result(result) for result in results]
    return [replace(row, id=str(number)) for number, row in enumerate(found)]


def counts(name: str, found: list[metrics.Trajectory]) -> tuple[float | None, float | None]:
    estimate = metrics.get(name).compute(found)
    return estimate.numerator, estimate.denominator


def lines(*said: str) -> list[str]:
    return ["\n".join(said)]


class TestFlagged:
    async def test_counts_every_answer_called_wrong_and_what_follows_it(self) -> None:
        found = await rows(
            in_response_verify,
            [
                lines(WRONG, REJECTED, WRONG, REJECTED, RIGHT, APPROVED),
                lines(RIGHT, REJECTED, WRONG, REJECTED),
                lines(RIGHT, REJECTED, RIGHT, APPROVED),
                lines(WRONG, APPROVED),
                lines(RIGHT, REJECTED, "Check: after all.", APPROVED),
                lines(WRONG),
            ],
        )
        assert counts("flagged_i2c", found) == (1, 3)
        assert counts("flagged_c2i", found) == (1, 2)

    async def test_is_null_where_nothing_is_flagged(self) -> None:
        found = await rows(in_response_verify, [lines(RIGHT, APPROVED)])
        for name, what in (("flagged_i2c", "wrong"), ("flagged_c2i", "right")):
            estimate = metrics.get(name).compute(found)
            assert (estimate.value, estimate.reason) == (None, f"no {what} answer was called wrong")

    async def test_needs_to_know_what_was_judged(self) -> None:
        found = await rows(progco, [[RIGHT, "check(a)", "<result>True</result>"]])
        assert metrics.get("flagged_i2c").compute(found).reason == "no verdict was given"


class TestRefineDecision:
    SCRIPTS = [
        [WRONG, REJECTED, RIGHT, "Choice: 2"],
        [WRONG, "Hm.", RIGHT, "Choice: 1"],
        [RIGHT, REJECTED, WRONG, "Choice: 1"],
        [RIGHT, REJECTED, RIGHT, "Choice: 2"],
        [WRONG, APPROVED],
        [RIGHT, APPROVED],
    ]

    async def test_takes_what_was_refined_for_called_wrong(self) -> None:
        """Also where the verdict could not be read: it led to refinement nevertheless."""
        found = await rows(ask_refine_trust, self.SCRIPTS)
        assert counts("refine_acc", found) == (3, 6)
        assert counts("refine_precision", found) == (2, 4)
        assert counts("refine_recall", found) == (2, 3)
        assert counts("refine_F1", found) == (4, 7)

    async def test_the_truster_is_right_where_it_takes_the_right_one(self) -> None:
        found = await rows(ask_refine_trust, self.SCRIPTS)
        assert counts("truster_acc", found) == (2, 3)
        assert metrics.get("truster_acc").compute(found[4:]).reason == "nothing was refined"

    async def test_counts_samples_that_never_came(self) -> None:
        found = [*await rows(ask_refine_trust, self.SCRIPTS), metrics.Trajectory("6", ())]
        graded = metrics.Graded(found, total=10)
        for name in ("refine_acc", "refine_precision", "truster_acc"):
            assert metrics.get(name).compute(graded).n_total == 10
        assert metrics.get("refine_acc").compute(graded).n == 6

    @pytest.mark.parametrize("method", [ask_refine_trust, progco], ids=lambda method: method.name)
    def test_stands_beside_the_methods_that_decide(self, method: Evaluator) -> None:
        told = {metric.name for metric in method.metrics}
        assert {"refine_acc", "refine_precision", "refine_recall", "refine_F1"} < told


class TestEditRatio:
    async def test_is_the_mean_distance_of_both_attempts(self) -> None:
        found = await rows(two_turn_neutral, [["abcd", "abcd"], ["kitten", "sitting"], ["", ""]])
        estimate = metrics.get("edit_ratio").compute(found)
        assert (estimate.value, estimate.n, estimate.n_total) == (pytest.approx(3 / 26), 2, 3)

    async def test_is_null_for_methods_that_note_none(self) -> None:
        found = await rows(ask_refine_trust, [[RIGHT, APPROVED]])
        assert metrics.get("edit_ratio").compute(found).value is None
