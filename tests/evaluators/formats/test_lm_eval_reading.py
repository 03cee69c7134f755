"""lm-eval's files read back: ours, stock lm-eval's own, and those of its older versions."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadFile
from evaluators.formats.lm_eval_files import write_lm_eval
from evaluators.formats.lm_eval_reading import read_lm_eval
from evaluators.formats.reading import read_one
from evaluators.formats.stored import StoredRun
from evaluators.model import Given, SampleResult

STAMP = "2026-01-02T03-04-05.678901"

LINE: dict[str, Any] = {
    "doc_id": 0,
    "doc": {"question": "1 + 1 =", "answer": 1, "nested": {"a": 1}},
    "target": "2",
    "arguments": {"gen_args_0": {"arg_0": "1 + 1 =", "arg_1": {"until": ["\n"]}}},
    "resps": [["It is 2"]],
    "filtered_resps": ["2"],
    "filter": "strict",
    "metrics": ["exact_match"],
    "doc_hash": "d",
    "prompt_hash": "p",
    "target_hash": "t",
    "exact_match": 1.0,
}
CHOICE: dict[str, Any] = {
    "doc_id": 0,
    "doc": {"question": "1 + 1 ="},
    "target": "1",
    "arguments": {
        "gen_args_0": {"arg_0": "1 + 1 =", "arg_1": " 1"},
        "gen_args_1": {"arg_0": "1 + 1 =", "arg_1": " 2"},
        "gen_args_2": {"arg_0": "", "arg_1": " 1"},
        "gen_args_3": {"arg_0": "", "arg_1": " 2"},
    },
    "resps": [
        [["-2.5", "False"]], [["-0.5", "True"]], [["-9.0", "False"]], [["-8.0", "False"]],
    ],
    "filtered_resps": [["-2.5", "False"], ["-0.5", "True"]],
    "filter": "none",
    "metrics": ["acc", "acc_norm"],
    "acc": 1.0,
    "acc_norm": 0.0,
}  # fmt: skip


def place(
    folder: Path,
    *lines: dict[str, Any] | str,
    task: str = "sums",
    output_type: str = "generate_until",
    summary: dict[str, Any] | None = None,
) -> Path:
    """Write result and sample files as stock lm-eval names them."""
    folder.mkdir(parents=True, exist_ok=True)
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    if told:
        (folder / f"samples_{task}_{STAMP}.jsonl").write_text("\n".join(told) + "\n")
    base = {
        "results": {task: {"alias": task}},
        "configs": {task: {"task": task, "output_type": output_type}},
        "versions": {task: 2.0},
        "config": {"model": "hf", "model_args": "pretrained=org/m", "limit": None},
        "model_name": "org/m",
        "date": 1767323045.5,
        "lm_eval_version": "0.4.9",
    }
    path = folder / f"results_{STAMP}.json"
    path.write_text(json.dumps(base | (summary or {})))
    return path


class TestOurs:
    @pytest.fixture
    def found(self, stored: StoredRun, tmp_path: Path) -> StoredRun:
        everything = chain.from_iterable(stored.results.values())
        write_lm_eval(tmp_path / "lm", everything, tasks=stored.tasks, run=stored.run)
        return read_one(tmp_path / "lm")

    def test_every_round_of_every_replicate(self, found: StoredRun, stored: StoredRun) -> None:
        for task, results in stored.results.items():
            graded = [r for r in results if r.answers]
            again = found.results[task]
            assert [(r.sample.id, r.replicate) for r in again] == [
                (r.sample.id, r.replicate) for r in graded
            ]
            for kept, read in zip(graded, again, strict=True):
                assert [a.text for a in read.answers] == [a.text for a in kept.answers]
                assert [a.grade.correct for a in read.answers] == [
                    a.grade.correct for a in kept.answers
                ]
                assert [dict(a.grade.scores) for a in read.answers] == [
                    dict(a.grade.scores) for a in kept.answers
                ]
                assert [a.grade.extractions for a in read.answers] == [
                    a.grade.extractions for a in kept.answers
                ]
                assert read.sample.messages == kept.sample.messages
                assert read.sample.question == kept.sample.question
                assert read.nodes[-1].messages == kept.nodes[-1].messages

    def test_a_given_solution_and_its_first_mistake(
        self, stored: StoredRun, tmp_path: Path
    ) -> None:
        told = Given("2 + 2 is 5.\nIt is 5", ("2 + 2 is 5.", "It is 5"), "somebody")

        def judged(result: SampleResult) -> SampleResult:
            first, *others = result.answers
            grade = replace(first.grade, first_error=0)
            answers = (replace(first, grade=grade), *others)
            return replace(result, sample=replace(result.sample, given=told), answers=answers)

        results = [judged(result) for result in stored.results["sums"] if result.answers]
        write_lm_eval(
            tmp_path / "lm", results, tasks={"sums": stored.tasks["sums"]}, run=stored.run
        )
        again = read_one(tmp_path / "lm").results["sums"]
        assert {result.sample.given for result in again} == {told}
        assert [[a.grade.first_error for a in result.answers] for result in again] == [
            [a.grade.first_error for a in result.answers] for result in results
        ]

    def test_what_the_run_was(self, found: StoredRun, stored: StoredRun) -> None:
        assert found.origin == "lm-eval"
        for name in ("model", "evaluator", "evaluator_version", "params", "seed", "fingerprint"):
            assert getattr(found.run, name) == getattr(stored.run, name)
        assert found.run.started == stored.run.started
        assert found.tasks["sums"].metric == "exact_match"
        assert found.tasks["sums"].filter == "strict"
        assert found.tasks["sums"].digest == ""

    def test_writing_what_was_read_gives_the_same_samples(
        self, found: StoredRun, tmp_path: Path
    ) -> None:
        everything = chain.from_iterable(found.results.values())
        written = write_lm_eval(tmp_path / "again", everything, tasks=found.tasks, run=found.run)
        for path in written[:-1]:
            before = (tmp_path / "lm" / path.relative_to(tmp_path / "again")).read_text()
            for old, new in zip(before.splitlines(), path.read_text().splitlines(), strict=True):
                ours, theirs = json.loads(old), json.loads(new)
                ours["arguments"]["gen_args_0"]["arg_1"] = {}  # settings of the call are not kept
                assert theirs == ours


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stock")
    load = (
        "import datasets\n"
        "def load(**kwargs):\n"
        "    rows = [{'question': f'{i} + 1 =', 'choices': [str(i), str(i + 1)], 'answer': 1}\n"
        "            for i in range(6)]\n"
        "    return {'test': datasets.Dataset.from_list(rows)}\n"
    )
    (folder / "sums.py").write_text(load)
    head = "custom_dataset: !function sums.load\ntest_split: test\ndoc_to_text: '{{question}}'\n"
    (folder / "choice.yaml").write_text(
        f"task: sums_choice\n{head}output_type: multiple_choice\n"
        "doc_to_choice: '{{choices}}'\ndoc_to_target: answer\n"
    )
    (folder / "write.yaml").write_text(
        f"task: sums_write\n{head}output_type: generate_until\n"
        "doc_to_target: '{{choices[answer]}}'\ngeneration_kwargs: {until: ['\\n']}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "dummy", "--limit", "5",
               "--tasks", "sums_choice,sums_write", "--include_path", str(folder),
               "--log_samples", "--output_path", str(folder / "out")]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
    (path,) = (folder / "out").rglob("results_*.json")
    return path


class TestStock:
    """Files that stock lm-eval writes here and now."""

    def test_scores_are_lm_evals(self, results: Path) -> None:
        found, summary = read_lm_eval(results), json.loads(results.read_text())
        choice = found.results["sums_choice:likelihood"]
        scores = [r.answers[0].grade.scores["acc,none"] for r in choice]
        assert sum(scores) / 5 == summary["results"]["sums_choice"]["acc,none"]
        assert [r.answers[0].grade.correct for r in choice] == [bool(s) for s in scores]
        write = found.results["sums_write"]
        assert [r.answers[0].text for r in write] == ["lol"] * 5
        assert [r.answers[0].grade.correct for r in write] == [False] * 5

    def test_choices_and_gold(self, results: Path) -> None:
        (*_, last) = read_lm_eval(results).results["sums_choice:likelihood"]
        assert last.sample.choices == (" 4", " 5")
        assert last.answers[0].grade.gold == "5"
        best = max(last.answers[0].likelihoods, key=lambda choice: choice.logprob)
        assert last.answers[0].grade.extracted == best.text.strip()
        assert last.answers[0].grade.correct == (best.text == " 5")

    def test_what_it_was(self, results: Path) -> None:
        found = read_lm_eval(results)
        assert (found.run.evaluator, found.run.model_source) == ("lm-eval", "dummy")
        info = found.tasks["sums_choice:likelihood"]
        assert (info.mode, info.size, info.metric) == ("likelihood", 6, "acc")
        (_, first, *_) = found.trajectories("sums_write")
        assert (first.calls, first.tokens_out) == (None, None)

    def test_our_likelihood_lines_are_like_theirs(self, results: Path, tmp_path: Path) -> None:
        found = read_lm_eval(results)
        tasks = {"sums_choice:likelihood": found.tasks["sums_choice:likelihood"]}
        path, _ = write_lm_eval(
            tmp_path, found.results["sums_choice:likelihood"], tasks=tasks, run=found.run
        )
        assert path.name.startswith("samples_sums_choice_2")
        (theirs,) = results.parent.glob("samples_sums_choice_*.jsonl")
        pairs = zip(theirs.read_text().splitlines(), path.read_text().splitlines(), strict=True)
        for stock, ours in (map(json.loads, pair) for pair in pairs):
            shown = json.loads(ours["arguments"]["gen_args_1"]["arg_0"])
            assert shown[0]["content"] == stock["arguments"]["gen_args_1"]["arg_0"]
            assert (
                ours["arguments"]["gen_args_1"]["arg_1"]
                == stock["arguments"]["gen_args_1"]["arg_1"]
            )
            same = ("doc_id", "target", "resps", "filtered_resps", "filter", "metrics", "acc",
                    "acc_norm", "target_hash")  # fmt: skip
            assert {key: ours[key] for key in same} == {key: stock[key] for key in same}


class TestOlderVersions:
    def test_no_filter_and_no_list_of_metrics(self, tmp_path: Path) -> None:
        old = {k: v for k, v in LINE.items() if k not in {"filter", "metrics", "doc_hash"}}
        old["arguments"] = [["1 + 1 =", {"until": ["\n"]}]]
        path = tmp_path / "results.json"
        (tmp_path / "pretrained=org__m_sums.jsonl").write_text(json.dumps(old) + "\n")
        path.write_text(json.dumps({"results": {"sums": {"exact_match": 1.0}}, "config": {}}))
        found = read_one(tmp_path)
        (answer,) = found.results["sums"][0].answers
        assert answer.grade.scores == {"exact_match,none": 1.0}
        assert answer.grade.correct

    def test_one_list_instead_of_lines(self, tmp_path: Path) -> None:
        path = place(tmp_path)
        (tmp_path / f"samples_sums_{STAMP}.json").write_text(json.dumps([LINE], indent=2))
        assert read_lm_eval(path).results["sums"][0].answers[0].text == "It is 2"

    def test_groups_are_no_tasks(self, tmp_path: Path) -> None:
        summary = {"results": {"all": {"acc,none": 1.0}, "sums": {}}}
        assert list(read_lm_eval(place(tmp_path, LINE, summary=summary)).results) == ["sums"]

    def test_the_newest_of_several(self, tmp_path: Path) -> None:
        newest = place(tmp_path, LINE)
        (tmp_path / "results_2025-01-01T00-00-00.0.json").write_text("{}")
        assert read_one(tmp_path).source == newest


class TestTraps:
    def test_lines_that_were_appended_twice_count_once(self, tmp_path: Path) -> None:
        assert len(read_lm_eval(place(tmp_path, LINE, LINE)).results["sums"]) == 1

    def test_refuses_two_runs_in_one_file(self, tmp_path: Path) -> None:
        other = LINE | {"resps": [["It is 3"]]}
        with pytest.raises(BadFile, match=r"jsonl:2: document 0 stands in line 1 already"):
            read_lm_eval(place(tmp_path, LINE, other))

    def test_refuses_missing_samples(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match=r"no samples of 'sums'.*--log_samples"):
            read_lm_eval(place(tmp_path))

    def test_refuses_missing_documents(self, tmp_path: Path) -> None:
        summary = {"n-samples": {"sums": {"original": 9, "effective": 3}}}
        with pytest.raises(BadFile, match="holds 1 of 3 documents"):
            read_lm_eval(place(tmp_path, LINE, summary=summary))

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (json.dumps(LINE)[:-9], ":2: not JSON"),
            ("[]", ":2: not a JSON object"),
            (json.dumps({"doc_id": 1}), ":2: arguments: Field required"),
            (json.dumps(LINE | {"doc_id": 1, "exact_match": None}), ":2: metric 'exact_match'"),
        ],
        ids=["cut-off", "list", "field", "metric"],
    )
    def test_refuses_a_bad_line_by_its_number(self, line: str, reason: str, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match=reason):
            read_lm_eval(place(tmp_path, LINE, line))

    def test_refuses_what_cannot_grade_one_answer(self, tmp_path: Path) -> None:
        odd = LINE | {"metrics": ["bleu"], "bleu": ["a", "b"]}
        with pytest.raises(BadFile, match="no metric that is one number per sample"):
            read_lm_eval(place(tmp_path, odd))
        lower = {"higher_is_better": {"sums": {"exact_match": False}}}
        with pytest.raises(BadFile, match="better when higher"):
            read_lm_eval(place(tmp_path, LINE, summary=lower))

    def test_refuses_other_json(self, tmp_path: Path) -> None:
        path = tmp_path / "results_x.json"
        for text, reason in [("{", ":1: not JSON"), ("[]", "not a JSON object"), ("{}", "results")]:
            path.write_text(text)
            with pytest.raises(BadFile, match=reason):
                read_one(path)

    def test_numbers_that_are_no_json_are_left_out(self, tmp_path: Path) -> None:
        odd = LINE | {"metrics": ["exact_match", "f1"], "f1": math.nan}
        (result,) = read_lm_eval(place(tmp_path, odd)).results["sums"]
        assert result.answers[0].grade.scores == {"exact_match,strict": 1.0}

    def test_choices_that_were_asked_twice_count_once(self, tmp_path: Path) -> None:
        path = place(tmp_path, CHOICE, task="arc", output_type="multiple_choice")
        (result,) = read_lm_eval(path).results["arc:likelihood"]
        (answer,) = result.answers
        assert [(c.text, c.logprob, c.greedy) for c in answer.likelihoods] == [
            (" 1", -2.5, False), (" 2", -0.5, True),
        ]  # fmt: skip
        assert (answer.text, answer.grade.gold, answer.grade.extracted) == (" 2", "2", "2")
        assert answer.grade.scores == {"acc,none": 1.0, "acc_norm,none": 0.0}

    @pytest.mark.parametrize(
        "prompt",
        [
            '[{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]',
            ['[{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]'],
        ],
        ids=["text", "list"],
    )
    def test_a_prompt_that_was_a_chat(self, prompt: Any, tmp_path: Path) -> None:
        line = LINE | {"arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}}
        (result,) = read_lm_eval(place(tmp_path, line)).results["sums"]
        assert [(m.role, m.content) for m in result.sample.messages] == [
            ("system", "S"), ("user", "Q"),
        ]  # fmt: skip
        assert [m.content for m in result.sample.question] == ["Q"]

    @pytest.mark.parametrize("prompt", ["[not JSON", "[1, 2]", "plain"])
    def test_a_prompt_that_only_looks_like_one(self, prompt: str, tmp_path: Path) -> None:
        line = LINE | {"arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}}
        (result,) = read_lm_eval(place(tmp_path, line)).results["sums"]
        assert [m.content for m in result.sample.messages] == [prompt]

    def test_nothing_extracted(self, tmp_path: Path) -> None:
        for found in (["[invalid]"], [""], [[]]):
            line = LINE | {"filtered_resps": found, "exact_match": 0.0}
            (result,) = read_lm_eval(place(tmp_path, line)).results["sums"]
            assert result.answers[0].grade.extracted is None
