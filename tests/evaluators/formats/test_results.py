"""Full results: what goes out comes back, and equal runs are equal bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.errors import BadFile
from evaluators.formats.results import (
    clean_text,
    from_json,
    read_results,
    to_identity,
    to_json,
    to_line,
    write_results,
)
from evaluators.model import (
    AnswerState,
    ChoiceLikelihood,
    Failure,
    Grade,
    Message,
    Node,
    Sample,
    SampleResult,
    Sampling,
    Usage,
    Verdict,
)

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 2**40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
mapping = st.dictionaries(text, json_values, max_size=3).map(MappingProxyType)


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


messages = few(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user", "assistant"]),
        content=text,
        node=st.none() | count,
        prompt=text,
    )
)
nodes = st.builds(
    Node,
    idx=count,
    kind=st.sampled_from(["answer", "critique", "vote", "given"]),
    role=st.sampled_from(["actor", "critic", "judge"]),
    round=count,
    parents=few(count),
    messages=messages,
    text=text,
    finish_reason=st.sampled_from([None, "stop", "length", "content_filter"]),
    sampling=st.none() | st.builds(Sampling, count, number, number, few(text), st.none() | count),
    usage=st.none() | st.builds(Usage, count, count),
    cached=st.booleans(),
    agent=text,
    sees_gold=st.booleans(),
    gated_by_gold=st.booleans(),
    payload=mapping,
)
likelihoods = st.builds(ChoiceLikelihood, text, number, count, st.booleans())
grades = st.builds(
    Grade,
    correct=st.booleans(),
    score=number,
    extracted=st.none() | text,
    gold=text,
    scores=st.dictionaries(text, number, max_size=2),
    extractions=st.dictionaries(text, st.none() | text, max_size=2),
)
results = st.builds(
    SampleResult,
    sample=st.builds(Sample, text, text, messages, messages, text, few(text), mapping),
    replicate=count,
    status=st.sampled_from(["ok", "unscored", "infra_error"]),
    answers=few(
        st.builds(AnswerState, count, text, st.booleans(), grades, st.booleans(), few(likelihoods))
    ),
    nodes=few(nodes),
    verdicts=few(
        st.builds(
            Verdict,
            count,
            st.sampled_from(["correct", "wrong", "unsure", None]),
            count,
            st.none() | number,
        )
    ),
    facts=mapping,
    stop_reason=text,
    failure=st.none() | st.builds(Failure, text, text),
    oracle=st.booleans(),
    seconds=number,
)
patient = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(results)
def test_round_trip(result: SampleResult) -> None:
    line = to_line(result)
    restored = from_json(json.loads(line))
    assert restored == result
    assert to_line(restored) == line
    assert "\n" not in line
    shown = [message.node for node in result.nodes for message in node.messages]
    assert [m.node for node in restored.nodes for m in node.messages] == shown, "not in =="


@patient
@given(results, number)
def test_identity_knows_neither_time_nor_sharing(result: SampleResult, seconds: float) -> None:
    shared = tuple(replace(node, cached=not node.cached) for node in result.nodes)
    again = replace(result, seconds=seconds, nodes=shared)
    assert to_line(again, identity=True) == to_line(result, identity=True)
    assert "cached" not in json.dumps(
        [list(node) for node in to_identity(result)["nodes"]]  # type: ignore[union-attr, arg-type]  # a list of objects
    )


def test_identity_sees_everything_else(result: Any) -> None:
    plain = result()
    for change in ({"replicate": 1}, {"stop_reason": "other"}, {"oracle": True}, {"facts": {}}):
        assert to_identity(replace(plain, **change)) != to_identity(plain)


@given(st.text(st.characters()))
def test_text_is_made_safe_to_store(found: str) -> None:
    cleaned = clean_text(found)
    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\0b", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\u202e ⟦", "\u202e ⟦"),
    ],
)
def test_text_that_no_database_takes(dirty: str, clean: str, result: Any) -> None:
    assert clean_text(dirty) == clean
    line = to_line(replace(result(), stop_reason=dirty, facts={dirty: [dirty]}))
    data = json.loads(line)
    assert (data["stop_reason"], data["facts"]) == (clean, {clean: [clean]})
    assert line.encode()


def test_fields_in_order_and_mappings_sorted(result: Any) -> None:
    data = to_json(replace(result(), facts={"b": 1, "a": 2.0}))
    assert list(data) == [
        "sample", "replicate", "status", "answers", "nodes", "verdicts", "facts", "stop_reason",
        "failure", "oracle", "seconds",
    ]  # fmt: skip
    assert json.dumps(data["facts"]) == '{"a": 2, "b": 1}'


class TestFiles:
    def test_round_trip(self, tmp_path: Path, result: Any, unscored: Any) -> None:
        written = [result(0), unscored(1), result(2, (True,))]
        path = write_results(tmp_path / "out" / "transcripts.jsonl", written)
        assert list(read_results(path)) == written

    def test_rewriting_what_was_read_gives_the_same_bytes(
        self, tmp_path: Path, result: Any, unscored: Any
    ) -> None:
        first = write_results(tmp_path / "a", [result(0), unscored(1)])
        second = write_results(tmp_path / "b", read_results(first))
        assert first.read_bytes() == second.read_bytes()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"status": "fine"}, "status: Input should be 'ok', 'unscored' or 'infra_error'"),
            ({"replicate": "0"}, "replicate: Input should be a valid integer, not '0'"),
            ({"nodes": [{}]}, "nodes.0.idx: Field required"),
            ({"answers": None}, "answers: Input should be a valid array, not None"),
        ],
    )
    def test_refuses_what_is_no_result(
        self, tmp_path: Path, result: Any, change: dict[str, Any], reason: str
    ) -> None:
        path = tmp_path / "bad.jsonl"
        good = to_json(result())
        path.write_text(f"{json.dumps(good)}\n{json.dumps({**good, **change})}\n")
        with pytest.raises(BadFile) as caught:
            list(read_results(path))
        assert str(caught.value).startswith(f"{path}:2: {reason}")
        assert "\n" not in str(caught.value)

    def test_refuses_numbers_that_json_cannot_say(self, tmp_path: Path, result: Any) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_results(tmp_path / "x", [replace(result(), seconds=float("nan"))])
        assert list(tmp_path.iterdir()) == []

    def test_refuses_facts_that_are_not_json(self, result: Any) -> None:
        with pytest.raises(TypeError, match="object is not JSON"):
            to_json(replace(result(), facts={"x": object()}))
