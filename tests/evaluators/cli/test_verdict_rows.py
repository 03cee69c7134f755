"""Figures of verdicts stand in the table of a run that has any, and in no other."""

from __future__ import annotations

from rich.console import Console

from evaluators.cli.render import decomposition_table
from evaluators.metrics import Trajectory, decompose
from evaluators.metrics.judgement import Judgement


def printed(*trajectories: Trajectory) -> str:
    console = Console(width=120)
    with console.capture() as told:
        console.print(decomposition_table("", decompose(trajectories)))
    return told.get()


def test_verdicts_are_shown_where_they_were_given() -> None:
    said = Judgement(False, "wrong", location=1, gold_location=1)
    table = printed(Trajectory("0", (False,), judgements=(said,)))
    rows = [line.split()[:3] for line in table.splitlines()]
    assert ["Verdict", "acc", "1.000"] in rows
    assert ["Location", "acc", "1.000"] in rows
    assert "Location F1" not in table, "one trace alone has no F1"


def test_nothing_is_said_of_verdicts_without_any() -> None:
    assert "erdict" not in printed(Trajectory("0", (False,)))
