"""The bundled tasks' filters read an answer as a careful person would, and never fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.tasks import extraction

CASES = json.loads(Path(__file__).with_name("extraction_cases.json").read_text())
FINDERS = {
    "text": (extraction.text_line, extraction.text_anywhere),
    "number": (extraction.number_line, extraction.number_anywhere),
    "verdict": (extraction.verdict_line, extraction.verdict_anywhere),
    "list": (extraction.list_line, extraction.list_anywhere),
}
Filter = Callable[[list[list[str]], object], list[list[str]]]
ALL = [finder for pair in FINDERS.values() for finder in pair]


def one(find: Filter, text: str) -> str | None:
    ((found,),) = find([[text]], None)
    return None if found == extraction.INVALID else found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden_cases(case: dict[str, str]) -> None:
    strict, lenient = FINDERS[case["kind"]]
    found = {"line": one(strict, case["text"]), "anywhere": one(lenient, case["text"])}
    assert found == {"line": case["line"], "anywhere": case["anywhere"]}


def test_filters_keep_lm_evals_shape() -> None:
    responses = [["Answer: 1", "Answer: 2"], [], ["nothing"]]
    assert extraction.number_line(responses, None) == [["1", "2"], [], ["[invalid]"]]


@pytest.mark.parametrize("find", ALL)
@given(text=st.text() | st.text(alphabet="Answer:is 0123456789.,-+=*`\"'\\{}$eE\n\t\u2212\u0665"))
def test_never_fails_on_any_text(find: Filter, text: str) -> None:
    found = one(find, text)
    assert found is None or (found.strip() and len(found) <= 2000)


@given(
    number=st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3
    )
)
def test_a_number_keeps_its_value_however_it_is_written(number: Decimal) -> None:
    for written in (f"{number}", f"{number:+}", f"{number:,}", f"**{number}**", f"{number:.6e}"):
        if Decimal(written.strip("*").replace(",", "")) == number:
            found = one(extraction.number_line, f"Answer: {written}.")
            assert found is not None
            assert Decimal(found) == number
            assert found == one(extraction.number_line, f"Answer: {found}")


@given(items=st.lists(st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=6))
def test_a_list_keeps_its_items_however_it_is_written(items: list[str]) -> None:
    plain = ", ".join(items)
    for written in (plain, ",".join(items), str(items), f"[{plain}]", f"{plain}."):
        assert one(extraction.list_line, f"Answer: {written}") == plain


@pytest.mark.parametrize("find", ALL)
@pytest.mark.parametrize(
    "unit",
    ["answer: ", "answer" + " " * 99, "1", "1,", "-", "*", "\n", "\\boxed{", "no ", "1,000,"],
)
def test_a_megabyte_of_anything_takes_no_time(find: Filter, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    one(find, text)
    assert time.process_time() - start < 2.0
