"""Solutions put before the model: shown without their label, graded by it."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from pathlib import Path
from types import CoroutineType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.api import Answer, Context, Outcome, evaluator, metrics
from evaluators.engine import evaluate
from evaluators.errors import BadTask
from evaluators.formats.regrade import regrade
from evaluators.formats.results import from_json, to_identity, to_json
from evaluators.model import AnswerState, Given, Grade, Sample, SampleResult, user
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.loading import OpenTask
from evaluators.testing import ScriptedModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

Write = Callable[..., Path]

DOCS: list[dict[str, Any]] = [
    {"q": "2 + 2?", "a": "4", "work": "2 + 2 is 5.\nSo: 5", "right": [False], "read": "5",
     "lines": ["2 + 2 is 5.", "So: 5"], "slip": 0, "who": "small", "story": "one"},
    {"q": "2 + 3?", "a": "5", "work": "That makes 5.", "right": [True], "read": "5",
     "lines": ["That makes 5."], "slip": None, "who": "large", "story": "one"},
    {"q": "2 + 9?", "a": "11", "work": "No idea\0.", "right": [False], "read": None,
     "lines": ["No idea."], "slip": -1, "who": "", "story": "S" * 100},
]  # fmt: skip

GIVEN = {
    "text": "work", "label": "right", "steps": "lines", "author": "who", "first_error": "slip",
    "answer": "read",
}  # fmt: skip

TOLD = """
import json
from pathlib import Path
from datasets import Dataset

def documents(**_):
    docs = json.loads(Path(__file__).with_name("told.json").read_text())
    return {"test": Dataset.from_list(docs)}
"""


def task(write: Write, docs: list[dict[str, Any]], given: object = None) -> Path:
    """Write a task whose documents are these."""
    declared = json.dumps(GIVEN if given is None else given)
    path = write(
        "g",
        "custom_dataset: !function told.documents\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\n'
        "fewshot_split: test\n"
        f"metadata: {{version: 1, cluster: story, given: {declared}}}\n",
    )
    (path.parent / "told.json").write_text(json.dumps(docs))
    (path.parent / "told.py").write_text(TOLD)
    return path


class TestWhatIsShown:
    def test_the_solution_its_steps_and_its_author(self, write):
        opened = OpenTask(TaskSpec("g"), task(write, DOCS))
        assert [sample["given"] for sample in opened.samples(None)] == [
            {"text": "2 + 2 is 5.\nSo: 5", "steps": ["2 + 2 is 5.", "So: 5"], "author": "small"},
            {"text": "That makes 5.", "steps": ["That makes 5."], "author": "large"},
            {"text": "No idea.", "steps": ["No idea."], "author": ""},
        ]

    def test_documents_of_one_story_are_one_cluster(self, write):
        opened = OpenTask(TaskSpec("g"), task(write, DOCS))
        clusters = [sample["cluster"] for sample in opened.samples(None)]
        assert clusters[:2] == ["one", "one"]
        assert len(str(clusters[2])) == 16

    def test_a_list_of_steps_is_a_text(self, write):
        given = {"text": "lines", "label": "right"}
        opened = OpenTask(TaskSpec("g"), task(write, DOCS, given))
        assert opened.samples(1)[0]["given"] == {
            "text": "2 + 2 is 5.\nSo: 5", "steps": [], "author": "",
        }  # fmt: skip

    async def test_it_crosses_the_process_as_the_noun(self, write):
        folder = task(write, DOCS).parent
        async with open_tasks([TaskSpec("g")], include_paths=[folder]) as tasks:
            first, second, _ = await tasks["g"].samples()
            assert first.given == Given("2 + 2 is 5.\nSo: 5", ("2 + 2 is 5.", "So: 5"), "small")
            assert first.cluster == second.cluster == "one"
            grades = await tasks["g"].grade("0", [first.given.text, "Answer\n4", "4"])
        assert [grade.first_error for grade in grades] == [0, None, None]
        assert [grade.correct for grade in grades] == [False, False, True]

    def test_other_tasks_show_none(self, write):
        assert "given" not in OpenTask(TaskSpec("plus_one"), write()).samples(1)[0]


class TestLabels:
    def test_the_given_text_gets_its_label_whatever_the_metric_says(self, write):
        opened = OpenTask(TaskSpec("g", threshold=0.3), task(write, DOCS))
        assert opened.grade(1, ["That makes 5."]) == [{
            "correct": True, "score": 1.0, "extracted": "5", "gold": "5", "first_error": -1,
            "scores": {"exact_match,none": 1.0}, "extractions": {"none": "5"},
        }]  # fmt: skip

    def test_a_text_that_differs_by_a_blank_is_an_answer_like_any_other(self, write):
        opened = OpenTask(TaskSpec("g"), task(write, DOCS))
        (graded,) = opened.grade(1, ["That makes 5. "])
        assert (graded["correct"], graded["extracted"]) == (False, "That makes 5. ")
        assert "first_error" not in graded

    def test_what_was_not_read_from_it_is_left_to_the_filter(self, write):
        opened = OpenTask(TaskSpec("g"), task(write, DOCS))
        (graded,) = opened.grade(2, ["No idea\0."])
        assert (graded["extracted"], graded["first_error"]) == ("No idea.", -1)

    def test_extraction_agrees_with_the_grade(self, write):
        opened = OpenTask(TaskSpec("g"), task(write, DOCS))
        assert opened.extract(0, "2 + 2 is 5.\nSo: 5") == "5"
        assert opened.extract(0, "2 + 2 is 5.") == "2 + 2 is 5."

    async def test_regrading_finds_the_label_again(self, write):
        folder = task(write, DOCS).parent
        async with open_tasks([TaskSpec("g")], include_paths=[folder]) as tasks:
            (sample, *_) = await tasks["g"].samples()
            (grade,) = await tasks["g"].grade("0", [sample.given.text])
            wrong = dataclasses.replace(grade, first_error=None)
            result = SampleResult(
                sample, 0, "ok", (AnswerState(0, sample.given.text, truncated=False, grade=wrong),)
            )
            found = await regrade([result], tasks["g"])
        assert found.results[0].answers[0].grade == grade
        assert [change.after.first_error for change in found.changes] == [0]


LABELS = st.lists(
    st.tuples(st.booleans(), st.one_of(st.none(), st.integers(-1, 0))), min_size=3, max_size=3
)


@given(labels=LABELS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_that_an_evaluator_is_given_depends_on_a_label(write, labels):
    """Samples of two tasks that differ in labels alone are the same samples."""
    docs = [
        doc | {"right": [right], "slip": slip}
        for doc, (right, slip) in zip(DOCS, labels, strict=True)
    ]
    one, other = (
        OpenTask(TaskSpec("g"), task(write, DOCS)),
        OpenTask(TaskSpec("g"), task(write, docs)),
    )
    assert one.samples(None) == other.samples(None)
    before, after = one.info(), other.info()
    assert before | {"digest": ""} == after | {"digest": ""}
    texts = [str(doc["work"]) for doc in docs]
    assert [other.grade(i, [text])[0]["correct"] for i, text in enumerate(texts)] == [
        right for right, _ in labels
    ]


MARKS = {"gold": "the-gold-answer-itself", "slip": 424242}
"""Values of a document that would be recognised wherever they turned up."""


async def test_nothing_an_evaluator_can_reach_holds_gold_or_the_first_mistake(write):
    """Look through every object behind context and sample, while the evaluator works."""
    docs = [{**DOCS[0], "a": MARKS["gold"], "slip": MARKS["slip"]}]
    fields = {key: GIVEN[key] for key in ("text", "label", "first_error", "author")}
    seen: list[object] = []

    @evaluator(metrics=[*metrics.decomposition])
    async def curious(ctx: Context, sample: Sample) -> Outcome:
        """Look around, then answer with what was given."""
        node = ctx.record("given", sample.given.text)
        await ctx.extract(sample.given.text)
        await ctx.generate(sample.messages)
        seen.extend(reachable([ctx, sample]))
        return Outcome([Answer(sample.given.text, node.idx)])

    kept: list[SampleResult] = []

    async def keep(result: SampleResult) -> None:
        kept.append(result)

    folder = task(write, docs, fields).parent
    async with open_tasks([TaskSpec("g")], include_paths=[folder]) as tasks:
        samples = await tasks["g"].samples()
        await evaluate(
            curious, {}, task=tasks["g"], samples=samples,
            models={"actor": ScriptedModel(["4"])}, sink=keep,
        )  # fmt: skip
    assert docs[0]["work"] in {text for text in seen if isinstance(text, str)}
    assert "TaskProcess" in {type(thing).__name__ for thing in seen}
    assert [thing for thing in seen if holds_a_mark(thing)] == []
    (answer,) = kept[0].answers
    assert (answer.grade.gold, answer.grade.first_error) == (MARKS["gold"], MARKS["slip"])


def reachable(roots: list[object]) -> list[object]:
    """Return every object behind the roots, but no code: that leads to the test itself."""
    skipped = (ModuleType, FunctionType, type, FrameType, CoroutineType, MethodType)
    found: dict[int, object] = {}
    pending = list(roots)
    while pending:
        thing = pending.pop()
        if id(thing) not in found and not isinstance(thing, skipped):
            found[id(thing)] = thing
            pending += gc.get_referents(thing)
    return list(found.values())


def holds_a_mark(thing: object) -> bool:
    if isinstance(thing, bytes | bytearray):
        thing = thing.decode("utf-8", "replace")
    if isinstance(thing, str):
        return str(MARKS["gold"]) in thing or str(MARKS["slip"]) in thing
    return type(thing) is int and thing == MARKS["slip"]


REFUSED = {
    "no-label": ({"text": "work"}, {}, "metadata.given needs the fields that hold the text and "
                 "its label"),
    "slip-of-the-pen": ({**GIVEN, "autor": "who"}, {},
                        "metadata.given knows no 'autor'; did you mean 'author'?"),
    "no-name": ({**GIVEN, "author": 3}, {}, "metadata.given: author is no name of a field: 3"),
    "no-field": ({**GIVEN, "author": "x"}, {},
                 "document 0: has no field 'x', which metadata.given names"),
    "no-text": (GIVEN, {"work": "\0 "}, "document 0: work is not a solution: '\\x00 '"),
    "label-in-words": (GIVEN, {"right": ["yes"]},
                       "document 0: right is neither true nor false: ['yes']"),
    "two-labels": (GIVEN, {"right": [True, False]},
                   "document 0: right is neither true nor false: [True, False]"),
    "step-beyond-the-last": (GIVEN, {"slip": 1}, "document 1: slip is 1, and there are 1 steps"),
    "step-before-the-first": (GIVEN, {"slip": -2}, "document 0: slip is not a step: -2"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "change", "reason"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_it_cannot_read(write, given, change, reason):
    docs = [doc | change for doc in DOCS]
    with pytest.raises(BadTask) as refused:
        OpenTask(TaskSpec("g"), task(write, docs, given))
    assert refused.value.data["reason"] == reason


class TestKept:
    """What is kept of a labelled solution, and that older results stay what they were."""

    def result(self, given: Given | None, place: int | None) -> SampleResult:
        asked = (user("2 + 2?"),)
        sample = Sample("0", "g", asked, asked, given=given)
        grade = Grade(False, 0.0, "5", "4", first_error=place)
        return SampleResult(sample, 0, "ok", (AnswerState(0, "5", truncated=False, grade=grade),))

    def test_it_comes_back(self):
        result = self.result(Given("5", ("5",), "small"), 0)
        assert from_json(to_json(result)) == result

    def test_results_without_one_are_written_as_ever(self):
        told = json.dumps(to_identity(self.result(None, None)))
        assert "given" not in told
        assert "first_error" not in told
        assert from_json(json.loads(told)) == self.result(None, None)
