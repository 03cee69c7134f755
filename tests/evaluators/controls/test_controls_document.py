"""What docs/statistics.md says of controls is what is planned."""

from __future__ import annotations

import re
from pathlib import Path

from evaluators.controls import GREEDY, MOST_SAMPLES, MOST_TURNS, TITLES
from evaluators.controls.planning import SIZE

SECTION = (
    (Path(__file__).parents[3] / "docs" / "statistics.md")
    .read_text(encoding="utf-8")
    .partition("## Equal compute\n")[2]
    .partition("\n## ")[0]
)


def test_lists_every_control_under_the_name_that_is_printed() -> None:
    rows = [line.split("|")[1].strip() for line in SECTION.splitlines() if line.startswith("|")]
    assert rows[2:] == list(TITLES.values())


def test_names_every_evaluator_that_may_be_one() -> None:
    table = "\n".join(line for line in SECTION.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", table)) == {GREEDY, *SIZE}


def test_names_the_caps() -> None:
    assert f"more than {MOST_SAMPLES} answers" in SECTION
    assert f"more than {MOST_TURNS} turns" in SECTION
