"""Results survive the way into the database and back, whatever a model wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from evaluators import model as nouns
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import AnswerState, Node, SampleResult
from leaderboard.runs.services.reading import as_result
from leaderboard.runs.services.rows import TEXT_BYTES, prepare, row_hash, storable
from tests.leaderboard.runs.conftest import prepared, result

MESSY = "nul\0, half \ud83d, whole \U0001f600, turned \u202e"


def stored(submit, begin, found: nouns.SampleResult) -> nouns.SampleResult:
    (run,) = submit("reask")
    services.commit_batch(begin(), [prepare(found, position=0)])
    (back,) = services.read_results(run)
    return back


def rich() -> nouns.SampleResult:
    """A result that uses every field."""
    plain = result(0, right=(True, False), text="Answer: 7")
    sample = replace(
        plain.sample,
        messages=(nouns.system("Be brief."), nouns.assistant("yes"), nouns.user("Q0")),
        cluster="story-3",
        metadata={"level": 2, "tags": ["a", None], "score": 0.25},
        given=nouns.Given("1 + 1 = 3\nAnswer: 7", ("1 + 1 = 3", "Answer: 7"), "somebody"),
    )
    critique = nouns.Node(
        idx=2,
        kind="vote",
        role="actor",
        round=1,
        parents=(0, 1),
        messages=(),
        text="",
        finish_reason=None,
        sampling=None,
        usage=None,
        agent="jury",
        sees_gold=True,
        payload={"counts": {"7": 2}, "huge": 1e20, "small": 1e-7},
    )
    follow_up = replace(
        plain.nodes[1],
        messages=(nouns.user("Q0"), nouns.Message("assistant", "7", node=0, prompt="p@1")),
        cached=True,
    )
    return replace(
        plain,
        sample=sample,
        answers=tuple(
            replace(answer, grade=replace(answer.grade, first_error=place))
            for answer, place in zip(plain.answers, (0, -1), strict=True)
        ),
        nodes=(plain.nodes[0], follow_up, critique),
        verdicts=(nouns.Verdict(0, "unsure", 1, 0.5, step=3), nouns.Verdict(1, None, 1, step=-1)),
        facts={"agreement": 2 / 3, "none": None},
        stop_reason="verdict",
        oracle=True,
        seconds=1.5,
    )


def test_every_field_comes_back(submit, begin):
    assert stored(submit, begin, rich()) == rich()
    assert broken() == []


def test_the_reason_for_a_missing_score_comes_back(submit, begin):
    found = result(0, status="unscored", failure=("grade-error", "ZeroDivisionError: sigh"))
    assert stored(submit, begin, found).failure == found.failure
    assert SampleResult.objects.get().failure_id == "sample:data:grade-error"


@pytest.mark.parametrize(
    ("right", "flip"),
    [((True, True), "cc"), ((True, False), "ci"), ((False, True), "ic"), ((False, False), "ii")],
)
def test_the_flip_is_first_against_last(right, flip):
    assert prepare(result(0, right=right), position=0).result.flip == flip


def test_an_unscored_sample_has_no_flip():
    assert prepared(0, status="unscored")[0].result.flip == ""


def test_the_hash_knows_no_time_and_no_cache():
    first = prepare(rich(), position=0).result.row_hash
    nodes = tuple(replace(node, cached=not node.cached) for node in rich().nodes)
    again = replace(rich(), seconds=99.0, nodes=nodes)
    assert prepare(again, position=0).result.row_hash == first
    assert prepare(replace(rich(), stop_reason="other"), position=0).result.row_hash != first


def test_what_a_database_cannot_say_is_taken_out(submit, begin):
    found = result(0, text=MESSY)
    found = replace(
        found, facts={MESSY: [MESSY]}, sample=replace(found.sample, metadata={"m": MESSY})
    )
    back = stored(submit, begin, found)
    clean = "nul, half \ufffd, whole \U0001f600, turned \u202e"
    assert back.answers[0].text == back.nodes[0].text == back.sample.metadata["m"] == clean
    assert back.facts == {clean: [clean]}
    assert broken() == []


def test_a_text_beyond_a_mebibyte_is_clipped_and_says_so(submit, begin):
    back = stored(submit, begin, result(0, text="é" * TEXT_BYTES))
    assert back.answers[0].text == "é" * (TEXT_BYTES // 2)
    assert set(Node.objects.values_list("clipped", flat=True)) == {True}
    assert set(AnswerState.objects.values_list("clipped", flat=True)) == {True}
    assert broken() == []


@pytest.mark.parametrize("thing", [object(), float("nan"), {1, 2}])
def test_facts_that_are_not_json_cost_the_sample_its_score(submit, begin, thing):
    back = stored(submit, begin, replace(result(0), facts={"thing": thing}))
    assert (back.status, back.failure.error) == ("unscored", "evaluator-crashed")
    assert "cannot be stored" in back.failure.detail
    assert broken() == []


@given(st.text(st.characters(codec=None), max_size=50))
def test_storable_text_is_utf8_without_nul(text):
    kept = storable(text)
    assert "\0" not in kept
    assert kept.encode().decode() == kept
    assert storable(kept) == kept


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(codec=None))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: st.lists(children, max_size=3)
    | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(facts=st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_the_hash_of_what_is_read_is_the_hash_of_what_was_written(db, facts):
    entry = prepare(replace(result(0), facts=facts), position=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb", [Jsonb(entry.result.facts)])
        (text,) = cursor.fetchone()
    entry.result.facts = json.loads(text)
    back = as_result(
        entry.result, nodes=entry.nodes, answers=entry.answers, judgements=entry.judgements
    )
    assert row_hash(back) == entry.result.row_hash


def test_likelihoods_and_choices_come_back(submit, begin):
    plain = result(0, right=(True, False))
    likely = (
        nouns.ChoiceLikelihood(" Paris", -0.25, 1, True),
        nouns.ChoiceLikelihood(" Lyon\0", -2.0, 2, False),
    )
    nodes = tuple(
        replace(
            node,
            text="",
            finish_reason=None,
            sampling=nouns.Sampling(logprobs=5) if node.idx else None,
            payload={"choices": [" Paris", " Lyon"], "logprobs": [-0.25, -2.0], "labels": False},
        )
        for node in plain.nodes
    )
    answers = tuple(replace(answer, likelihoods=likely) for answer in plain.answers)
    sample = replace(plain.sample, choices=(" Paris", " Lyon\0"))
    back = stored(submit, begin, replace(plain, sample=sample, nodes=nodes, answers=answers))
    assert back.sample.choices == (" Paris", " Lyon")
    assert back.answers[0].likelihoods == (likely[0], replace(likely[1], text=" Lyon"))
    assert back.nodes[1].sampling.logprobs == 5
    assert back.nodes[0].payload == nodes[0].payload
    assert broken() == []


def test_replicates_are_rows_of_their_own(submit, begin):
    (run,) = submit("reask")
    held = begin()
    first = result(0)
    services.commit_batch(held, [prepare(replace(first, replicate=r), position=0) for r in (0, 1)])
    assert [row.replicate for row in services.read_results(run)] == [0, 1]
    assert services.present(held) == {("0", 0), ("0", 1)}
    hashes = SampleResult.objects.values_list("row_hash", flat=True)
    assert len(set(hashes)) == 2
    assert broken() == []
