"""Prompts and scores are lm-eval's own, character by character and sample by sample."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

import evaluators
from evaluators.model import Grade
from evaluators.tasks import open_tasks
from evaluators.tasks.loading import OpenTask
from evaluators.tasks.spec import TaskSpec

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # from lm-eval's own dependencies
    "ignore::FutureWarning",
    "ignore::UserWarning",
)

PACKAGE = Path(evaluators.__file__).parent
BUNDLED = sorted((PACKAGE / "tasks" / "bundled").glob("*.yaml"))

MORE = {
    "plain": "",
    "few-shot": "num_fewshot: 3",
    "description": 'description: "Be {{n}} times brief.\\n\\n"\nnum_fewshot: 2',
    "prefix": 'gen_prefix: "The sum is"\nnum_fewshot: 2',
    "prefix-of-the-document": "gen_prefix: q",
    "delimiters": 'num_fewshot: 2\nfewshot_delimiter: "\\n--\\n"\ntarget_delimiter: " => "',
    "first-shots": "num_fewshot: 2\nfewshot_config: {sampler: first_n, doc_to_text: 'E: {{q}}'}",
    "choices": "doc_to_choice: ['odd', 'even']\ndoc_to_target: pick\nnum_fewshot: 1",
    "several-targets": "doc_to_target: all\nnum_fewshot: 1",
    "processed": (
        "process_docs: !function functions.process_docs\nfewshot_split: test\nnum_fewshot: 2"
    ),
}  # fmt: skip


SHARED = Path(os.environ.get("REDRAFT_SHARED", PACKAGE.parent.parent / "shared"))
GSM8K = SHARED / "data" / "gsm8k" / "test.jsonl"


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    """lm-eval's own gsm8k, with its questions read from a file."""
    path = tmp_path / "gsm8k.yaml"
    path.write_text(
        f"include: {Path(lm_eval.__file__).parent}/tasks/gsm8k/gsm8k.yaml\n"
        "dataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs:\n  cache_dir: {tmp_path}\n"
        f"  data_files: {{train: {GSM8K}, test: {GSM8K}}}\n"
    )
    return path


def toy_template(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    said = "".join(f"<|{m['role']}|>{m['content']}<|end|>\n" for m in messages)
    return said + "<|assistant|>" * add_generation_prompt


def lm_eval_prompts(path: Path, spec: TaskSpec, limit: int) -> list[str]:
    (task,) = TaskManager(include_defaults=False).load([str(path)])["tasks"].values()
    if spec.num_fewshot is not None and task.config.num_fewshot != 0:
        task.set_config(key="num_fewshot", value=spec.num_fewshot)
    task.set_fewshot_seed(seed=spec.fewshot_seed)
    task.build_all_requests(
        limit=limit,
        system_instruction=spec.system_prompt,
        apply_chat_template=spec.chat,
        fewshot_as_multiturn=spec.fewshot_as_multiturn and spec.chat,
        chat_template=toy_template if spec.chat else None,
    )
    # One prompt for all options of a document.
    return list(dict.fromkeys(instance.args[0] for instance in task.instances))


def our_prompts(path: Path, spec: TaskSpec, limit: int) -> list[str]:
    prompts = []
    for sample in OpenTask(spec, path).samples(limit):
        messages: Any = sample["messages"]
        if spec.chat:
            ours = toy_template(messages, messages[-1]["role"] != "assistant")
        else:
            (only,) = messages
            assert only["role"] == "user"
            ours = only["content"]
        prompts.append(ours)
    return prompts


class TestPrompts:
    @pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
    def test_bundled_tasks_render_as_lm_eval_renders_them(self, path: Path) -> None:
        mode = "likelihood" if path.stem.startswith("rgmc_") else None
        spec = TaskSpec(path.stem, num_fewshot=2, mode=mode)
        assert our_prompts(path, spec, 3) == lm_eval_prompts(path, spec, 3)

    @pytest.mark.parametrize("more", MORE.values(), ids=MORE.keys())
    @pytest.mark.parametrize(
        "spec",
        [
            TaskSpec("plus_one"),
            TaskSpec("plus_one", system_prompt="You add."),
            TaskSpec("plus_one", fewshot_as_multiturn=False, system_prompt="You add."),
            TaskSpec("plus_one", num_fewshot=4, fewshot_seed=7),
            TaskSpec("plus_one", chat=False),
        ],
        ids=["default", "system", "one-turn", "shots-and-seed", "no-chat"],
    )
    def test_task_files_render_as_lm_eval_renders_them(
        self, write: Any, more: str, spec: TaskSpec
    ) -> None:
        path = write(more=more)
        ours = our_prompts(path, spec, 6)
        assert ours == lm_eval_prompts(path, spec, 6)
        assert len(set(ours)) == 6

    def test_a_prompt_does_not_depend_on_the_limit_or_on_earlier_renderings(
        self, write: Any
    ) -> None:
        task = OpenTask(TaskSpec("plus_one", num_fewshot=3), write())
        few = task.samples(4)
        assert task.samples(None)[:4] == few == task.samples(4)

    def test_the_question_is_the_last_user_turn_alone(self, write: Any) -> None:
        path = write(more='gen_prefix: "The sum is"\nnum_fewshot: 2\ndescription: Add.')
        (sample,) = OpenTask(TaskSpec("plus_one"), path).samples(1)
        assert sample["question"] == [{"role": "user", "content": "Q: 0 + 1?"}]
        assert sample["id"] == "0"
        assert sample["messages"][-2:] == [  # type: ignore[index] # a list, as the line shows
            {"role": "user", "content": "Q: 0 + 1?"},
            {"role": "assistant", "content": "The sum is"},
        ]
        assert sample.keys() == {"id", "messages", "question"}


class Canned(LM):
    """Answers by document: right, wrong, chatty, empty, right with noise."""

    def __init__(self, right: dict[str, str]) -> None:
        super().__init__()
        self.right = right

    @property
    def tokenizer_name(self) -> str:
        return "toy"

    def apply_chat_template(self, chat_history: list[dict[str, str]], **options: Any) -> str:
        return toy_template(chat_history, **options)

    def generate_until(self, requests: list[Any], **_: object) -> list[str]:
        answers = []
        for number, request in enumerate(requests):
            gold = self.right[request.args[0]]
            answers.append(
                [
                    f"Answer: {gold}",
                    "Answer: 99999",
                    f"I think, though 5 is near, that **Answer:** {gold}.",
                    "",
                    f"{gold}\n\nNothing more.",
                    f"Answer: {gold} \u0664\u0662 \U0001f600",
                ][number % 6]
            )
        return answers

    def loglikelihood(self, requests: list[Any], **_: object) -> list[Any]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any], **_: object) -> list[Any]:
        raise NotImplementedError


FILTERED = """
filter_list:
  - name: strict
    filter: [{function: regex, regex_pattern: 'Answer: (\\d+)'}, {function: take_first}]
  - name: loose
    filter: [{function: regex, regex_pattern: '(\\d+)', group_select: -1}, {function: take_first}]
  - name: loud
    filter:
      - {function: custom, filter_fn: !function functions.shout}
      - {function: take_first}
"""


def compare_scores(path: Path, limit: int) -> int:
    """Compare every metric of every filter, and return how many answers were right."""
    name = path.stem
    task = OpenTask(TaskSpec(name), path)
    samples = task.samples(limit)
    golds = [task.grade(i, [""])[0]["gold"] for i in range(limit)]
    texts = [toy_template(s["messages"]) for s in samples]  # type: ignore[arg-type] # messages are dicts
    model = Canned(dict(zip(texts, map(str, golds), strict=True)))
    results = lm_eval.simple_evaluate(
        model=model, tasks=[str(path)], task_manager=TaskManager(include_defaults=False),
        limit=limit, apply_chat_template=True, bootstrap_iters=0,
    )  # fmt: skip
    theirs = results["samples"][name]
    for logged in theirs:
        (grade,) = task.grade(logged["doc_id"], [logged["resps"][0][0]])
        for metric in logged["metrics"]:
            assert grade["scores"][f"{metric},{logged['filter']}"] == float(logged[metric])  # type: ignore[index, call-overload] # a mapping
    assert len(theirs) == limit * len({logged["filter"] for logged in theirs})
    metric = theirs[0]["metrics"][0]
    first = theirs[0]["filter"]
    assert results["results"][name][f"{metric},{first}"] == pytest.approx(
        sum(float(x[metric]) for x in theirs if x["filter"] == first) / limit
    )
    return sum(x[metric] == 1.0 for x in theirs if x["filter"] == first)


class TestScores:
    @pytest.mark.parametrize(
        ("name", "right"),
        [("rg_chain_sum_easy", 18), ("rg_number_sorting_easy", 12), ("rg_spell_backward_easy", 12)],
    )
    def test_bundled_tasks_score_as_lm_eval_scores_them(
        self, bundled: Path, name: str, right: int
    ) -> None:
        assert compare_scores(bundled / f"{name}.yaml", 36) == right

    @pytest.mark.parametrize(
        "more",
        [FILTERED, FILTERED + "doc_to_target: all", FILTERED + "repeats: 4", ""],
        ids=["filters", "several-targets", "repeats", "no-filter"],
    )
    def test_task_files_score_as_lm_eval_scores_them(self, write: Any, more: str) -> None:
        assert compare_scores(write(more=more), 12) >= 0


async def test_the_task_process_renders_and_grades_the_same(write: Any) -> None:
    path = write(more=FILTERED + "num_fewshot: 2")
    here = OpenTask(TaskSpec("plus_one"), path)
    async with open_tasks([TaskSpec("plus_one")], include_paths=[path.parent]) as tasks:
        there = tasks["plus_one"]
        samples = await there.samples()
        assert [[m.wire() for m in sample.messages] for sample in samples] == [
            sample["messages"] for sample in here.samples(None)
        ]
        for index in range(12):
            texts = [f"Answer: {index + 1}", "7 or 8", ""]
            graded = await there.grade(str(index), texts)
            assert list(graded) == [Grade(**found) for found in here.grade(index, texts)]


@pytest.mark.skipif(not GSM8K.is_file(), reason="the shared data sets are not here")
class TestGsm8k:
    def test_it_renders_as_lm_eval_renders_it(self, gsm8k: Path) -> None:
        spec = TaskSpec("gsm8k")
        assert our_prompts(gsm8k, spec, 3) == lm_eval_prompts(gsm8k, spec, 3)

    def test_it_scores_as_lm_eval_scores_it(self, gsm8k: Path) -> None:
        assert compare_scores(gsm8k, 12) == 8

    def test_it_says_what_it_is(self, gsm8k: Path) -> None:
        info = OpenTask(TaskSpec("gsm8k"), gsm8k).info()
        assert (info["size"], info["num_fewshot"], info["version"]) == (1319, 5, "3.0")
        assert (info["metric"], info["filter"]) == ("exact_match", "strict-match")
        assert info["sampling"] == {
            "max_tokens": 256,
            "temperature": 0.0,
            "top_p": 1.0,
            "stop": ["Question:", "</s>", "<|im_end|>"],
        }
