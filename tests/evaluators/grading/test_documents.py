"""What docs/grading.md and docs/statistics.md list is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from evaluators.critique import LOCATIONS, PAIR_POLICIES, POLICIES
from evaluators.formats.answers import Question
from evaluators.formats.judgements import PairLine, Said, VerdictLine
from evaluators.formats.transcripts import Line
from evaluators.metrics import efficiency, get
from evaluators.metrics.pairwise import NAMES
from evaluators.metrics.verification import verification

DOCS = Path(__file__).parents[3] / "docs"
GRADING = (DOCS / "grading.md").read_text(encoding="utf-8")
STATISTICS = (DOCS / "statistics.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """Return the names in the first column of the table behind a heading."""
    rows = GRADING.partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0].splitlines()
    return [name for row in rows[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_policy_is_in_the_table() -> None:
    assert first_cells("### Policies") == [*POLICIES, *PAIR_POLICIES]
    for name in LOCATIONS:
        assert f"--locate {name}" in GRADING


def test_every_key_is_in_a_table() -> None:
    tables = {"grade FILE": Question, "judge FILE": VerdictLine, "| key of a choice": PairLine}
    for heading, model in tables.items():
        part = GRADING.partition(heading)[2].partition("\n#")[0]
        missing = [key for key in model.model_fields if f"`{key}`" not in part]
        assert missing in ([], ["cluster"]), heading


def test_every_key_of_a_transcript_is_in_the_table() -> None:
    part = STATISTICS.partition("## From anyone")[2].partition("\n## ")[0]
    named = {
        name
        for row in part.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if row.startswith("|") else "")
    }
    assert not {*Line.model_fields} - named
    assert not {*Said.model_fields} - set(re.findall(r"`(\w+)`", part))


def test_every_figure_is_named() -> None:
    for metric in verification:
        assert metric.name.removeprefix("verdict") in GRADING
    for name in NAMES:
        assert f"`{name}`" in GRADING
    for metric in efficiency:
        assert f"`{metric.name}`" in STATISTICS
        assert get(metric.name) is metric
