"""Tasks written in Python, and functions that fail inside lm-eval's hooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evaluators.errors import BadTask, GradeError
from evaluators.tasks.lm_eval import build_index
from evaluators.tasks.loading import OpenTask
from evaluators.tasks.spec import TaskSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

Write = Callable[..., Path]

CLASSES = """
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task

class Plain(Task):
    VERSION = 2
    OUTPUT_TYPE = "generate_until"
    KINDS = ("generate_until",)

    def download(self, *args, **kwargs):
        pass

    def has_training_docs(self):
        return False

    has_validation_docs = has_training_docs

    def has_test_docs(self):
        return True

    def test_docs(self):
        return [{"q": "1 + 1?", "a": "2"}, {"q": "2 + 2?", "a": "4"}]

    def doc_to_text(self, doc):
        return doc["q"]

    def doc_to_target(self, doc):
        return " " + doc["a"]

    def construct_requests(self, doc, ctx, **kwargs):
        metadata = kwargs["metadata"]
        return [
            Instance(kind, doc, (f"<{ctx}>", {"until": ["\\n"]}), 0, metadata=metadata)
            for kind in self.KINDS
        ]

    def process_results(self, doc, results):
        return {"em": results[0].strip() == doc["a"]}

    def aggregation(self):
        return {"em": mean}

    def higher_is_better(self):
        return {"em": True}

class Pair(Plain):
    KINDS = ("generate_until", "loglikelihood")

class Guess(Plain):
    OUTPUT_TYPE = "loglikelihood"
"""


@pytest.fixture
def python_task(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a task file for one of the classes."""
    (tmp_path / "classes.py").write_text(CLASSES)

    def write_task(name: str) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"task: {name}\nclass: !function classes.{name.capitalize()}\n")
        return path

    return write_task


class TestClasses:
    def test_a_task_without_a_chat_is_opened_as_text(
        self, python_task: Callable[[str], Path]
    ) -> None:
        task = OpenTask(TaskSpec("plain", chat=False), python_task("plain"))
        assert task.samples(1) == [
            {
                "id": "0",
                "messages": [{"role": "user", "content": "<1 + 1?>"}],
                "question": [{"role": "user", "content": "1 + 1?"}],
            }
        ]
        right, wrong = task.grade(1, [" 4 ", "5"])
        assert (right["score"], right["gold"], wrong["score"]) == (1.0, " 4", 0.0)
        info = task.info()
        assert (info["version"], info["metric"], info["filter"]) == ("2", "em", "none")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("plain", "makes plain text, not a chat; open it with chat off"),
            ("pair", "asks for generate_until and loglikelihood per sample; supported is one "),
            ("guess", "loglikelihood is not supported"),
        ],
    )
    def test_refuses_what_cannot_be_a_chat(
        self, python_task: Callable[[str], Path], name: str, reason: str
    ) -> None:
        with pytest.raises(BadTask) as caught:
            OpenTask(TaskSpec(name), python_task(name))
        assert str(caught.value.data["reason"]).startswith(reason)


class TestFailures:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("raise", "RuntimeError: the grader does not like it"),
            ("nan", "metric 'exact_match' gave no number for this answer"),
        ],
    )
    def test_a_grader_that_fails_names_the_reason(
        self, write: Write, text: str, reason: str
    ) -> None:
        path = write(more="process_results: !function functions.moody")
        task = OpenTask(TaskSpec("plus_one"), path)
        assert task.grade(0, ["1"])[0]["correct"]
        with pytest.raises(GradeError) as caught:
            task.grade(0, ["1", text])
        assert caught.value.data == {"task": "plus_one", "reason": reason}

    def test_a_filter_that_fails_names_the_reason(self, write: Write) -> None:
        more = (
            "filter_list:\n- name: fussy\n  filter:\n"
            "  - {function: custom, filter_fn: !function functions.fussy}\n"
        )
        path = write()
        functions = path.with_name("functions.py")
        functions.write_text(
            functions.read_text()
            + "\ndef fussy(resps, docs):\n"
            + "    return [[text.index('=') for text in texts] for texts in resps]\n"
        )
        path.write_text(f"{path.read_text()}\n{more}\n")
        task = OpenTask(TaskSpec("plus_one"), path)
        assert task.extract(0, "1 =") == "2"
        for fail in (lambda: task.extract(0, "1"), lambda: task.grade(0, ["1"])):
            with pytest.raises(GradeError, match="ValueError: substring not found"):
                fail()

    def test_a_document_that_cannot_be_rendered_is_named(self, write: Write) -> None:
        path = write(more="doc_to_text: '{{ 10 // (n - 5) }}'")
        task = OpenTask(TaskSpec("plus_one"), path)
        assert len(task.samples(5)) == 5
        with pytest.raises(BadTask, match="prompt 5 cannot be rendered: ZeroDivisionError"):
            task.samples(6)


def test_the_index_tells_tasks_groups_and_tags(write: Write, tmp_path: Path) -> None:
    write("adding", "tag: [sums, short]\ndataset_path: some/where\ndataset_name: main")
    write("choosing", "tag: sums\noutput_type: multiple_choice")
    write("coding", "unsafe_code: true")
    (tmp_path / "all.yaml").write_text(
        "group: all\ntask: [adding, {task: choosing, num_fewshot: 1}, {group: more, task: []}]\n"
    )
    index = build_index(tmp_path)
    kinds = {name: (e.kind, e.path, e.members, e.modes) for name, e in index.items()}
    assert kinds == {
        "adding": ("task", "adding.yaml", (), ("generate_until",)),
        "choosing": ("task", "choosing.yaml", (), ("generative", "likelihood")),
        "coding": ("task", "coding.yaml", (), ()),
        "all": ("group", "all.yaml", ("adding", "choosing", "more"), ()),
        "sums": ("tag", "", ("adding", "choosing"), ()),
        "short": ("tag", "", ("adding",), ()),
    }
    assert (index["adding"].summary, index["adding"].version) == ("some/where main", "3.5")
