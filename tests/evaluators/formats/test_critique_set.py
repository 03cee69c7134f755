"""Pairs of a right and a convincing wrong solution, chosen from a model's answers."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import BadFile, BadTask
from evaluators.formats import critique_set as built
from evaluators.formats.critique_set import (
    Candidate,
    Drops,
    Pair,
    Question,
    Settings,
    candidates,
    certainty,
    choose,
    generators,
    pair_of,
    solutions,
)
from evaluators.formats.critique_set_files import build_set
from evaluators.formats.lines import write_lines
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import Grade, Node, Sample, SampleResult, Sampling, Usage, user
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.critique_data.built import read_solutions

GOLDEN = Path(__file__).parents[2] / "golden" / "critique_set" / "pairs.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
QUESTION = Question("sums", "3", "small")


def graded(answers: list[str], texts: list[str] | None = None) -> list[Candidate]:
    """Read answers as the golden cases write them."""
    plain = [answer.removeprefix("c") for answer in answers]
    said = texts or [f"Answer {place}: {answer}" for place, answer in enumerate(plain)]
    return [
        Candidate(text, marked.startswith("c"), answer)
        for marked, answer, text in zip(answers, plain, said, strict=True)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_what_comes_of_the_answers(case: dict[str, Any]) -> None:
    bounds = {key: case[key] for key in ("min_samples", "max_certainty") if key in case}
    found = pair_of(
        QUESTION, graded(case["answers"], case.get("texts")), replace(Settings(), **bounds)
    )
    if "reason" in case:
        assert found == case["reason"]
        return
    assert isinstance(found, Pair)
    assert found.certainty == pytest.approx(case["certainty"])
    assert (found.right.correct, found.wrong.correct) == (True, False)
    assert found.samples == len(case["answers"])
    assert found.wrong.answer.replace(",", "") == case.get("wrong", found.wrong.answer)
    assert found.right.text == case.get("right_text", found.right.text)
    assert found.wrong.text == case.get("wrong_text", found.wrong.text)


ANSWERS = st.lists(st.sampled_from(["c1", "c1", "2", "3", "4"]), min_size=1, max_size=12)


@given(answers=ANSWERS, shuffle=st.randoms(use_true_random=False), seed=st.integers(0, 9))
def test_a_pair_is_what_it_says_and_knows_no_order(answers, shuffle, seed):
    settings = Settings(seed=seed, min_samples=2, max_certainty=9)
    among = graded(answers, [f"{'step. ' * (i % 3)}text {i}" for i in range(len(answers))])
    found = pair_of(QUESTION, among, settings)
    shuffled = [*among]
    shuffle.shuffle(shuffled)
    assert pair_of(QUESTION, shuffled, settings) == found
    if isinstance(found, Pair):
        wrong = Counter(one.key for one in among if not one.correct)
        assert wrong[found.wrong.key] == max(wrong.values())
        assert found.right.correct > found.wrong.correct
        for one in (found.right, found.wrong):
            rivals = [other for other in among if other.key == one.key]
            assert one.steps == max(other.steps for other in rivals)
    else:
        assert len(set(answers)) == 1 or len(answers) < 2 or "c1" not in answers


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_certainty_is_that_of_the_two_most_frequent(counts):
    among = graded([str(i) for i, count in enumerate(counts) for _ in range(count)])
    first, *others = sorted(counts, reverse=True)
    assert certainty(among) == (math.log(first / others[0]) if others else math.inf)


class TestChoosing:
    def questions(self, count: int = 6) -> dict[Question, list[Candidate]]:
        """Questions on which the model is the less certain, the later they come."""
        answers = {True: ["c1", "c1", "2", "3"], False: ["c1", "c1", "2", "2"]}
        return {
            Question("sums", str(i), name): graded(answers[i < count // 2])
            for i in range(count)
            for name in ("small", "large")
        }

    def test_as_many_right_as_wrong_ones_of_every_model(self):
        pairs = choose(self.questions(), Settings(), Drops())
        assert Counter(pair.question.generator for pair in pairs) == {"small": 6, "large": 6}

    def test_the_least_certain_come_first_and_the_rest_is_counted(self):
        drops = Drops()
        pairs = choose(self.questions(), Settings(pairs=3), drops)
        assert {pair.certainty for pair in pairs} == {0.0}
        assert len(pairs) == 6
        assert drops.questions["sums"] == {built.SURPLUS: 6}

    def test_the_seed_decides_among_equals_and_nothing_else(self):
        among = {
            Question("sums", str(i), "small"): graded(["c1", "c1", "2", "2"]) for i in range(9)
        }
        drawn = [
            tuple(pair.right.text for pair in choose(among, Settings(seed=seed), Drops()))
            for seed in (1, 1, 2)
        ]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_every_question_without_a_pair_is_counted_by_its_reason(self):
        drops = Drops()
        among = {
            Question("sums", "0", "small"): graded(["c1"] * 5),
            Question("sums", "1", "small"): graded(["2"] * 5),
            Question("sums", "2", "small"): graded(["2"]),
        }
        assert choose(among, Settings(), drops) == []
        assert drops.questions["sums"] == {built.NO_WRONG: 1, built.NO_RIGHT: 1, built.FEW: 1}


ASKED = (user("6 * 7?"),)


def node(idx: int, said: str, seed: int | None = None, /, **changes: Any) -> Node:
    sampling = Sampling(temperature=0.7 if seed else 0.0, seed=seed)
    made = Node(idx, "answer", "actor", 0, (), ASKED, said, "stop", sampling, Usage(3, 1))
    return replace(made, **changes)


def run(*nodes: Node, model: str = "small", fingerprint: str = "f") -> StoredRun:
    sample = Sample("3", "sums", ASKED, ASKED)
    result = SampleResult(sample, 0, "ok", nodes=nodes)
    info = RunInfo(
        model, "echo", "self_consistency", "1", datetime(2026, 1, 1, tzinfo=UTC),
        fingerprint=fingerprint,
    )  # fmt: skip
    return StoredRun(Path("somewhere"), "redraft", info, {}, {"sums": (result,)})


class TestSolutions:
    def test_methods_that_share_their_samples_count_them_once(self):
        drops = Drops()
        found = solutions([run(node(0, "42", 1), node(1, "41", 2)), run(node(0, "42", 1))], drops)
        assert found == {QUESTION: ["42", "41"]}
        assert drops.candidates["sums"] == {built.REPEATED: 1}

    def test_equal_texts_of_two_samples_are_two_answers(self):
        assert solutions([run(node(0, "42", 1), node(1, "42", 2))], Drops()) == {
            QUESTION: ["42", "42"]
        }

    def test_answers_of_two_models_are_kept_apart(self):
        runs = [run(node(0, "42", 1)), run(node(0, "42", 1), model="large")]
        assert {question.generator for question in solutions(runs, Drops())} == {"small", "large"}

    def test_two_models_of_one_name_are_told_apart(self):
        runs = [run(fingerprint="aaaaaaaaaa"), run(fingerprint="bbbbbbbbbb"), run(model="large")]
        assert generators(runs) == ["small@aaaaaaaa", "small@bbbbbbbb", "large"]

    def test_of_a_local_model_only_the_folders_name_is_told(self):
        assert generators([run(model="/home/me/models/mine"), run(model="acme/mine")]) == [
            "mine", "acme/mine",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"finish_reason": "length"}, built.TRUNCATED),
            ({"text": " \n"}, built.EMPTY),
            ({"messages": (user("Once more: 6 * 7?"),)}, built.ASKED_OTHERWISE),
            ({"sees_gold": True}, built.ASKED_OTHERWISE),
            ({"payload": {"choices": ["A", "B"]}}, built.CHOSEN),
        ],
    )
    def test_what_is_no_solution_is_counted_by_its_reason(self, changes, reason):
        drops = Drops()
        assert solutions([run(node(0, "42", 1, **changes))], drops) == {}
        assert drops.candidates["sums"] == {reason: 1}

    @pytest.mark.parametrize(
        "changes", [{"kind": "critique"}, {"role": "critic"}, {"round": 1}, {"parents": (0,)}]
    )
    def test_later_turns_are_no_first_answers(self, changes):
        drops = Drops()
        assert solutions([run(node(0, "42", 1, **changes))], drops) == {}
        assert not drops.candidates

    def test_files_that_tell_no_sampling_count_every_answer(self):
        nodes = [node(i, "42", sampling=None, messages=()) for i in range(2)]
        assert solutions([run(*nodes)], Drops()) == {QUESTION: ["42", "42"]}


def test_what_cannot_be_read_or_graded_is_counted():
    drops = Drops()
    grades = [Grade(True, 1.0, "42", "42"), Grade(False, 0.0, None, "42"), None]
    assert candidates("sums", ["42", "?", "!"], grades, drops) == [Candidate("42", True, "42")]
    assert drops.candidates["sums"] == {built.UNREAD: 1, built.UNGRADED: 1}


async def test_refuses_results_whose_task_opens_under_another_name(tmp_path):
    """Other tools do not say how the options of a task were put."""
    stored = run(node(0, "42", 1))
    other = replace(stored, results={"rgmc_chain_sum_easy": stored.results["sums"]})
    with pytest.raises(BadFile, match="opens under another name: rgmc_chain_sum_easy:"):
        await build_set([other], tmp_path / "set", Settings())


def test_breaks_of_other_kinds_are_part_of_a_solution(tmp_path):
    """JSON leaves them as they are within a line, and Python would split the line there."""
    row = {"text": "So\u2028\u0085\x0cAnswer: 42"}
    path = write_lines(tmp_path / "set.jsonl", [json.dumps(row, ensure_ascii=False)] * 2)
    assert read_solutions(path) == [row, row]


async def test_the_set_of_a_choice_between_options_knows_its_questions(tmp_path):
    spec = TaskSpec("rgmc_syllogism", mode="generative")
    async with open_tasks([spec]) as tasks:
        task = tasks[spec.key]
        samples = await task.samples(6)
        golds = [(await task.grade(sample.id, ["A"]))[0].gold for sample in samples]
    letters = [[gold, gold, "B" if gold == "A" else "A"] for gold in golds]
    results = tuple(
        SampleResult(
            sample, 0, "ok",
            nodes=tuple(
                node(place, f"It is so. Answer: {letter}", place + 1, messages=sample.messages)
                for place, letter in enumerate(said)
            ),
        )
        for sample, said in zip(samples, letters, strict=True)
    )  # fmt: skip
    whole = {"results": {spec.key: results}, "tasks": {spec.key: task.info}}
    stored = replace(run(node(0, "")), specs={spec.key: spec}, **whole)
    found = await build_set([stored], tmp_path / "set", Settings(min_samples=3))
    new, path = found.tasks[spec.key], tmp_path / "set" / "critique_rgmc_syllogism.jsonl"
    right = [row["answer"] for row in read_solutions(path) if row["correct"]]
    assert sorted(right) == sorted(golds)
    path.write_text(path.read_text(encoding="utf-8").replace("All ", "Not all ", 1))
    with pytest.raises(BadTask, match="is another one by now"):
        async with open_tasks([TaskSpec(new, mode="generative")], include_paths=[path.parent]):
            pass
