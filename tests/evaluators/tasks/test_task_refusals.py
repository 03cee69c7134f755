"""What cannot be evaluated is refused when it is opened, in one line that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evaluators.errors import BadFile, BadTask, NotInstalled
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.loading import OpenTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

Write = Callable[..., Path]

CORPUS = "metric_list: [{metric: %s, aggregation: %s, higher_is_better: true}]"
SUPPORTED = (
    "the model must write an answer or choose one; supported are generate_until and "
    "multiple_choice tasks"
)

FILES = {
    "loglikelihood": (
        "output_type: loglikelihood",
        f"loglikelihood is not supported: {SUPPORTED}",
    ),
    "rolling": (
        "output_type: loglikelihood_rolling",
        f"loglikelihood_rolling is not supported: {SUPPORTED}",
    ),
    "unsafe-code": (
        "unsafe_code: true",
        "grading runs code that the model wrote: needs a sandbox",
    ),
    "corpus-metric": (
        CORPUS % ("bleu", "bleu"),
        "bleu is computed over the whole corpus or is better when lower, so it cannot grade one "
        "answer; metrics that can: none",
    ),
    "own-aggregation": (
        "process_results: !function functions.moody\n"
        + CORPUS % ("exact_match", "!function functions.corpus"),
        "exact_match is computed over the whole corpus or is better when lower, so it cannot grade "
        "one answer; metrics that can: none",
    ),
    "lower-is-better": (
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: false}]",
        "exact_match is computed over the whole corpus or is better when lower, so it cannot grade "
        "one answer; metrics that can: none",
    ),
    "unreachable-data": (
        "custom_dataset: !function functions.unreachable",
        "its data set cannot be fetched: ConnectionError: Couldn't reach the Hub",
    ),
    "missing-file-of-data": (
        "dataset_path: json\ndataset_kwargs: {data_files: {test: /nowhere.jsonl}}\n"
        "custom_dataset: null",
        "its data set cannot be fetched: FileNotFoundError: Unable to find '/nowhere.jsonl'",
    ),
    "no-documents": (
        "custom_dataset: !function functions.empty\nfewshot_split: null",
        "cannot be loaded: IndexError",
    ),
    "missing-function": (
        "custom_dataset: !function functions.nothing",
        "cannot be loaded: AttributeError",
    ),
    "missing-library": (
        "process_results: !function nowhere.at_all",
        "needs something that is not installed: ImportError: Cannot import module 'nowhere'",
    ),
    "missing-field": (
        "doc_to_text: '{{nothing}}'",
        "cannot be loaded: UndefinedError: 'nothing' is undefined",
    ),
    "images": (
        "doc_to_image: q",
        "shows images or sounds; supported is text alone",
    ),
    "broken-yaml": ("filter_list: [", "its file cannot be read: ParserError"),
}  # fmt: skip

SPECS = {
    "metric": (
        TaskSpec("plus_one", metric="f1"),
        "has no metric 'f1'; it has: exact_match",
    ),
    "filter": (TaskSpec("plus_one", filter="strict"), "has no filter 'strict'; it has: none"),
    "negative-shots": (TaskSpec("plus_one", num_fewshot=-1), "num_fewshot -1 is negative"),
    "too-many-shots": (
        TaskSpec("plus_one", num_fewshot=7),
        "prompt 0 cannot be rendered: ValueError: Sample larger than population or is negative",
    ),
}


class TestFiles:
    @pytest.mark.parametrize(("more", "reason"), FILES.values(), ids=FILES.keys())
    def test_refuses_what_cannot_be_evaluated(self, write: Write, more: str, reason: str) -> None:
        path = write(more=more)
        with pytest.raises(BadTask) as caught:
            OpenTask(TaskSpec("plus_one"), path)
        assert caught.value.data["task"] == "plus_one"
        assert str(caught.value.data["reason"]).startswith(reason)
        assert "\n" not in str(caught.value)

    def test_the_same_file_without_the_flaw_is_opened(self, write: Write) -> None:
        info = OpenTask(TaskSpec("plus_one"), write()).info()
        assert (info["metric"], info["filter"], info["size"]) == ("exact_match", "none", 12)

    def test_a_corpus_metric_beside_a_mean_is_left_out(self, write: Write) -> None:
        more = (
            "metric_list:\n- {metric: bleu, aggregation: bleu, higher_is_better: true}\n"
            "- {metric: exact_match, aggregation: mean, higher_is_better: true}"
        )
        task = OpenTask(TaskSpec("plus_one"), write(more=more))
        assert task.info()["metric"] == "exact_match"
        (grade,) = task.grade(0, ["1"])
        assert grade["scores"] == {"exact_match,none": 1.0}
        with pytest.raises(BadTask, match="bleu is computed over the whole corpus"):
            OpenTask(TaskSpec("plus_one", metric="bleu"), write(more=more))


class TestSpecs:
    @pytest.mark.parametrize(("spec", "reason"), SPECS.values(), ids=SPECS.keys())
    def test_refuses_what_the_task_does_not_have(
        self, write: Write, spec: TaskSpec, reason: str
    ) -> None:
        with pytest.raises(BadTask) as caught:
            OpenTask(spec, write())
        assert caught.value.data == {"task": "plus_one", "reason": reason}

    def test_refuses_to_change_a_fixed_number_of_shots(self, write: Write) -> None:
        path = write(more="num_fewshot: 0")
        with pytest.raises(BadTask, match="fixes num_fewshot at 0; it cannot be changed"):
            OpenTask(TaskSpec("plus_one", num_fewshot=2), path)
        assert OpenTask(TaskSpec("plus_one", num_fewshot=0), path).info()["num_fewshot"] == 0

    @pytest.mark.parametrize("limit", [0, -3, 13])
    def test_refuses_a_limit_out_of_range(self, write: Write, limit: int) -> None:
        task = OpenTask(TaskSpec("plus_one"), write())
        with pytest.raises(BadTask) as caught:
            task.samples(limit)
        assert caught.value.data["reason"] == f"limit {limit} is not between 1 and 12"
        assert [len(task.samples(good)) for good in (1, 12, None)] == [1, 12, 12]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "error", "words"),
        [
            (
                "plus_two",
                NotInstalled,
                "No task named 'plus_two' is installed. Did you mean plus_one",
            ),
            ("mmlu", BadTask, "is a group of tasks; name one of them: mmlu_stem, mmlu_other, "),
            ("ai2_arc", BadTask, "is a tag of tasks; name one of them: arc_challenge, arc_easy"),
            ("wikitext", BadTask, "loglikelihood_rolling is not supported"),
            ("humaneval", BadTask, "needs a sandbox"),
        ],
    )
    async def test_refuses_names_that_stand_for_no_usable_task(
        self, write: Write, name: str, error: type[Exception], words: str
    ) -> None:
        folder = write().parent
        with pytest.raises(error) as caught:
            async with open_tasks([TaskSpec(name)], include_paths=[folder]):
                pass
        assert words in str(caught.value)

    async def test_refuses_a_task_named_twice(self, write: Write) -> None:
        specs = [TaskSpec("plus_one"), TaskSpec("plus_one", num_fewshot=1)]
        with pytest.raises(BadTask, match="is named twice"):
            async with open_tasks(specs, include_paths=[write().parent]):
                pass

    async def test_refuses_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match="is not a folder"):
            async with open_tasks([TaskSpec("x")], include_paths=[tmp_path / "nowhere"]):
                pass

    async def test_opening_nothing_starts_nothing(self) -> None:
        async with open_tasks([]) as tasks:
            assert tasks == {}
