"""The bundled tasks: the same documents everywhere, gold answers accepted, any answer survived."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evaluators
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.catalogue import read_yaml
from evaluators.tasks.loading import OpenTask
from evaluators.tasks.procedural import documents, score

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

PACKAGE = Path(evaluators.__file__).parent
ALL = sorted((PACKAGE / "tasks" / "bundled").glob("*.yaml"))
BUNDLED = [path for path in ALL if path.stem.startswith("rg_")]
CHOOSING = [path for path in ALL if path.stem.startswith("rgmc_")]
GOLDEN = json.loads(Path(__file__).with_name("bundled_digests.json").read_text())

every_task = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
every_written = pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
every_choice = pytest.mark.parametrize("path", CHOOSING, ids=lambda path: path.stem)


def splits(path: Path) -> dict[str, list[dict[str, Any]]]:
    made = documents(**read_yaml(path)["dataset_kwargs"])
    return {name: list(split) for name, split in made.items()}


def digest(docs: dict[str, list[dict[str, Any]]]) -> str:
    return hashlib.sha256(json.dumps(docs, sort_keys=True).encode()).hexdigest()


@every_task
def test_the_documents_are_the_same_on_every_machine(path: Path) -> None:
    """Another digest means another data set: raise the task's version when it is meant."""
    assert digest(splits(path)) == GOLDEN[path.stem]


def test_every_golden_digest_belongs_to_a_task() -> None:
    assert GOLDEN.keys() == {path.stem for path in ALL}
    assert len(ALL) == len(BUNDLED) + len(CHOOSING)


@every_written
def test_the_file_names_the_task_and_says_what_it_is(path: Path) -> None:
    config = read_yaml(path)
    assert config["task"] == path.stem
    assert config["task"].removesuffix("_easy") == f"rg_{config['dataset_kwargs']['generator']}"
    assert config["metadata"]["summary"]
    assert config["metadata"]["version"] == 1.0
    assert "num_fewshot" not in config, "a number here could not be changed any more"
    assert [entry["name"] for entry in config["filter_list"]] == ["answer-line", "flexible"]


@every_task
def test_no_question_occurs_twice_in_test_and_examples_together(path: Path) -> None:
    made = splits(path)
    config = read_yaml(path)["dataset_kwargs"]
    assert len(made["test"]) == config["size"]
    assert len(made["fewshot"]) == 16
    questions = [doc["question"] for docs in made.values() for doc in docs]
    assert len(set(questions)) == len(questions)


@every_choice
def test_one_option_is_right_by_the_verifier_and_no_other(path: Path) -> None:
    places: Counter[int] = Counter()
    for doc in splits(path)["test"]:
        right = [score(doc, [option])["score"] >= 1 for option in doc["choices"]]
        assert right == [place == doc["gold"] for place in range(len(right))]
        assert doc["choices"][doc["gold"]] == doc["target"]
        places[doc["gold"]] += 1
    fewest, most = min(places.values()), max(places.values())
    assert most < 2.2 * fewest, "the right option stands in some places too often"


@every_choice
def test_the_options_are_no_part_of_the_question(path: Path) -> None:
    config = read_yaml(path)
    assert "choices" not in config["doc_to_text"]
    assert "gold" not in config["doc_to_text"]
    assert config["metadata"]["summary"]


@every_written
def test_the_expected_answer_is_correct_and_no_other_is(path: Path) -> None:
    task = OpenTask(TaskSpec(path.stem), path)
    for index in range(0, 50, 5):
        (gold,) = {str(task.grade(index, [""])[0]["gold"])}
        right, plain, wrong, empty = task.grade(
            index, [f"So it is.\nAnswer: {gold}", gold, "Answer: nonsense 987654321", ""]
        )
        assert right["correct"]
        assert right["scores"] == {"score,answer-line": 1.0, "score,flexible": 1.0}
        assert (plain["correct"], plain["extracted"]) == (False, None)
        assert not wrong["correct"]
        assert (empty["correct"], empty["extracted"]) == (False, None)
        assert empty["scores"] == {"score,answer-line": 0.0, "score,flexible": 0.0}


@every_written
def test_the_prompt_does_not_give_the_answer_away(path: Path) -> None:
    """Prompts show the question's facts alone: never the documents' other fields."""
    shown = set(re.findall(r"[a-z_0-9]+", read_yaml(path)["doc_to_text"].partition("\nEnd")[0]))
    assert not shown & {"target", "answer", "index", "seed", "options"} - {"answer"}


@pytest.mark.parametrize("path", BUNDLED[::4], ids=lambda path: path.stem)
@settings(max_examples=60)
@given(
    answer=st.text(max_size=40) | st.from_regex(r"[-+0-9./e,\[\]'\" ×x*^()]{1,40}", fullmatch=True)
)
def test_a_verifier_survives_any_answer(path: Path, answer: str) -> None:
    doc = documents(**{**read_yaml(path)["dataset_kwargs"], "size": 1, "fewshot_size": 1})["test"][
        0
    ]
    assert 0.0 <= score(doc, [answer])["score"] <= 1.0


def test_refuses_options_that_are_not_there() -> None:
    recipe = {"generator": "syllogism", "seed": 1, "size": 4, "fewshot_size": 1}
    with pytest.raises(ValueError, match=r"1 wrong options for '\w+', not 3"):
        documents(**recipe, choices={"kind": "pool", "texts": ["Yes", "No"]})


def test_refuses_more_documents_than_the_generator_has() -> None:
    with pytest.raises(ValueError, match=r"products has \d+ questions for test, not 500"):
        documents(generator="products", seed=1, size=500, options={"max_digits": 1})


def test_the_readme_lists_every_task() -> None:
    text = (PACKAGE / "tasks" / "bundled" / "README.md").read_text()
    for prefix, paths in (("rg", BUNDLED), ("rgmc", CHOOSING)):
        listed = re.findall(rf"^\| `({prefix}_\w+)`", text, re.MULTILINE)
        assert listed == [path.stem for path in paths]


async def test_a_bundled_task_end_to_end(bundled: Path) -> None:
    spec = TaskSpec("rg_chain_sum_easy", filter="flexible")
    async with open_tasks([spec], include_paths=[bundled]) as tasks:
        task = tasks["rg_chain_sum_easy"]
        (sample, *_) = await task.samples(3)
        (grade,) = await task.grade(sample.id, ["5 + 3 = 8"])
    assert sample.messages == sample.question
    assert sample.question[0].content == (
        'What is 5 + 3?\nEnd with one line of the form "Answer: <number>".'
    )
    assert (grade.correct, grade.extracted, grade.gold) == (True, "8", "8")
    assert grade.extractions == {"answer-line": None, "flexible": "8"}
    assert task.info.summary == "Sums and differences of two one-digit numbers"


async def test_echo_flips_holds_every_way_in_the_counts_it_promises(echo: Path) -> None:
    ways: Counter[tuple[bool, bool, bool]] = Counter()
    first: Counter[tuple[bool, bool, bool]] = Counter()
    async with open_tasks([TaskSpec("echo_flips")], include_paths=[echo]) as tasks:
        task = tasks["echo_flips"]
        for sample in await task.samples():
            script = re.fullmatch(r"Exercise \d+: <<(.*)\|(.*)>>", sample.question[0].content)
            assert script is not None
            before, after = await task.grade(sample.id, script.groups())
            way = before.correct, after.correct, before.extracted == after.extracted
            ways[way] += 1
            first[way] += int(sample.id) < 24
    assert task.info.size == 240
    assert ways == {
        (True, True, True): 90,
        (True, False, False): 30,
        (False, True, False): 40,
        (False, False, True): 50,
        (False, False, False): 30,
    }
    assert {way: 10 * count for way, count in first.items()} == ways
