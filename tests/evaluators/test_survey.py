"""Surveys: which methods run on which tasks, one table, and nothing lost when they are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.cards import inspect_evaluators
from evaluators.cli import run_command
from evaluators.cli import survey as survey_command
from evaluators.engine import Limits, evaluate
from evaluators.errors import BadTask, NotInstalled
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    LikelihoodRequest,
    Likelihoods,
    SampleResult,
    Sampling,
    TokenLogprob,
    Usage,
    user,
)
from evaluators.registry import load_evaluator
from evaluators.runtimes import ModelSpec
from evaluators.survey import Leg, Wanted, as_markdown, plan_legs, run_survey
from evaluators.survey.calls import CallFile, RememberedModel
from evaluators.tasks import TaskSpec
from evaluators.testing import ScriptedModel, ScriptedTask

ALL = frozenset({"chat", "prefix", "token_logprobs", "label_likelihood", "echo"})
ECHO = ModelSpec("echo", "echo", {})
METHODS = ["single_pass", "reask", "self_consistency", "self_refine"]
SMALL = [*METHODS, "--model", "echo", "--task", "echo_flips", "--limit", "2"]

COMPLETION = Completion(
    "x", "stop", Usage(3, 1), logprobs=(TokenLogprob("x", -0.5, (("y", -1.0),)),)
)
LIKELIHOODS = Likelihoods((ChoiceLikelihood("a", -0.25, 1, greedy=True),), Usage(3, 0))


def survey(*arguments: object) -> int:
    return run_command(["survey", *(str(argument) for argument in arguments)])


class TestCalls:
    def test_keeps_answers_of_both_kinds_exactly(self, tmp_path: Path) -> None:
        file = CallFile(tmp_path / "calls.jsonl")
        file.put("one", COMPLETION)
        file.put("two", LIKELIHOODS)
        file.close()
        again = CallFile(tmp_path / "calls.jsonl")
        assert (again.get("one"), again.get("two"), again.get("three")) == (
            COMPLETION, LIKELIHOODS, None,
        )  # fmt: skip
        again.close()

    @pytest.mark.parametrize("cut", [1, 20, 60])
    def test_drops_a_line_that_was_cut_off_and_goes_on(self, tmp_path: Path, cut: int) -> None:
        path = tmp_path / "calls.jsonl"
        file = CallFile(path)
        file.put("one", COMPLETION)
        file.put("two", COMPLETION)
        file.close()
        path.write_bytes(path.read_bytes()[:-cut])
        again = CallFile(path)
        assert (len(again), again.get("two")) == (1, None)
        again.put("three", LIKELIHOODS)
        again.close()
        last = CallFile(path)
        assert (len(last), last.get("three")) == (2, LIKELIHOODS)
        last.close()

    async def test_asks_nothing_twice_and_says_that_it_was_computed(self, tmp_path: Path) -> None:
        chat = ChatRequest((user("6 * 7?"),), Sampling())
        choice = LikelihoodRequest((user("6 * 7?"),), ("41", "42"))
        for first in (True, False):
            model, file = ScriptedModel(["42"]), CallFile(tmp_path / "calls.jsonl")
            remembered = RememberedModel(model, file)
            completion = await remembered.complete(chat)
            likelihoods = await remembered.likelihood(choice)
            assert (completion.text, completion.cached) == ("42", False)
            assert (likelihoods.choices[1].logprob, likelihoods.cached) == (0.0, False)
            assert len(model.requests) == (2 if first else 0)
            file.close()


class TestLegs:
    def legs(self, *tasks: TaskSpec, offered=ALL, critique=(), names=METHODS):
        wanted = Wanted(ECHO, tasks, critique, limit=3, max_tokens=7, free_text_tokens=5)
        return plan_legs(wanted, inspect_evaluators(names), offered=offered)

    def test_gives_every_task_the_methods_that_fit(self) -> None:
        names = [*METHODS, "choice_likelihood", "reask_logits"]
        written, lettered = TaskSpec("echo_flips"), TaskSpec("rgmc_syllogism", mode="generative")
        legs = {leg.name: leg for leg in self.legs(written, lettered, names=names)}
        assert {name: [m.name for m in leg.plan.methods] for name, leg in legs.items()} == {
            "echo_flips": ["reask", "self_consistency", "self_refine", "single_pass"],
            "rgmc_syllogism:generative": [
                "reask", "reask_logits", "self_consistency", "self_refine", "single_pass",
            ],
            "rgmc_syllogism:likelihood": ["choice_likelihood"],
        }  # fmt: skip
        assert "works on tasks put as" in legs["echo_flips"].skipped["choice_likelihood"]

    def test_carries_limits_into_the_plan(self) -> None:
        (leg,) = self.legs(TaskSpec("echo_flips"))
        assert leg.plan.task_limits == {"echo_flips": 3}
        assert leg.plan.tasks[0].max_tokens == 7
        assert leg.plan.limits.free_text_tokens == 5

    def test_shortens_replies_only_of_methods_that_would_write_longer_ones(self) -> None:
        names = ["feedback_refine", "reask"]
        wanted = Wanted(ECHO, (TaskSpec("echo_flips"),), reply_tokens=100)
        [leg] = plan_legs(wanted, inspect_evaluators(names), offered=ALL)
        long = replace(wanted, reply_tokens=4096)
        [as_they_are] = plan_legs(long, inspect_evaluators(names), offered=ALL)
        asked = {m.name: m.params.get("max_tokens") for m in leg.plan.methods}
        assert asked == {"feedback_refine": 100, "reask": None}
        assert as_they_are.plan.methods[0].params["max_tokens"] == 512

    def test_leaves_out_what_the_runtime_cannot_do(self) -> None:
        (leg,) = self.legs(
            TaskSpec("echo_flips"), offered=frozenset({"prefix"}), names=["reask", "single_pass"]
        )
        assert [method.name for method in leg.plan.methods] == ["single_pass"]
        assert leg.skipped == {"reask": "needs chat, which the model or its runtime lacks"}
        assert leg.plan.tasks[0].chat is False

    def test_puts_only_methods_that_judge_on_solutions_to_judge(self) -> None:
        names = ["reask", "critique_accuracy"]
        task = TaskSpec("realcritic_gsm8k")
        (leg,) = self.legs(critique=(task,), names=names)
        assert [method.name for method in leg.plan.methods] == ["critique_accuracy"]
        assert leg.skipped == {"reask": "judges no solution that it is given"}

    def test_refuses_to_run_nothing(self) -> None:
        with pytest.raises(NotInstalled):
            self.legs(TaskSpec("echo_flips"), names=["choice_likelihood"])


class TestRun:
    async def test_limits_free_text_and_leaves_answers_to_the_task(self) -> None:
        model, task = ScriptedModel(["Answer: 41", "Verdict: wrong", "Answer: 42"]), ScriptedTask()
        results: list[SampleResult] = []

        async def keep(result: SampleResult) -> None:
            results.append(result)

        await evaluate(
            load_evaluator("self_refine"),
            {"max_attempts": 1},
            task=task,
            samples=await task.samples(),
            models={"actor": model},
            sink=keep,
            limits=Limits(free_text_tokens=5),
        )
        limits = [node.sampling.max_tokens for node in results[0].nodes if node.sampling]
        assert limits == [64, 5, 64]

    async def test_leaves_out_an_optional_task_that_cannot_be_opened(self, tmp_path: Path) -> None:
        wanted = Wanted(ECHO, (TaskSpec("echo_flips"),), limit=1, controls=False)
        cards = inspect_evaluators(["reask"])
        (leg,) = plan_legs(wanted, cards, offered=ALL)
        wrong = (TaskSpec("rgmc_syllogism", mode="likelihood"),)
        other = Leg("other", replace(leg.plan, tasks=wrong), optional=True)
        found = await run_survey(wanted, [other, leg], cards, folder=tmp_path)
        assert [row.task for row in found.rows] == ["echo_flips"]
        assert "it is put as likelihood" in found.skipped["other"]["reask"]
        assert "## other" in as_markdown(found)
        with pytest.raises(BadTask):
            await run_survey(wanted, [replace(other, optional=False)], cards, folder=tmp_path)


class TestDefaults:
    def test_reads_small_models_leniently_unless_told_otherwise(self) -> None:
        mine = survey_command._questions(["rg_gcd_easy", "rg_lcm_easy"], "strict")
        assert [(spec.key, spec.filter) for spec in mine] == [
            ("rg_gcd_easy", "strict"), ("rg_lcm_easy", "strict"),
        ]  # fmt: skip
        assert [(spec.key, spec.filter) for spec in survey_command._questions([], None)] == [
            ("rg_chain_sum_easy", "flexible"), ("rgmc_syllogism:generative", None),
        ]  # fmt: skip


class TestCommand:
    def test_writes_one_table_in_three_forms(self, tmp_path: Path, capsys) -> None:
        assert survey(*SMALL, "--out", tmp_path) == 0
        capsys.readouterr()
        table = json.loads((tmp_path / "table.json").read_text())
        by_method = {row["method"]: row for row in table["rows"]}
        assert sorted(by_method) == sorted(METHODS)
        refined = by_method["self_refine"]
        assert (refined["n"], refined["source"]) == (2, "2303.17651")
        assert refined["figures"]["calls"]["value"] == 9
        assert {control["kind"] for control in refined["controls"]} >= {"greedy", "sc_calls"}
        assert refined["own"]["verdict_acc"]["n"] == 8
        with (tmp_path / "table.csv").open() as file:
            rows = {row["method"]: row for row in csv.DictReader(file)}
        assert rows["self_refine"]["calls"] == "9"
        assert rows["single_pass"]["CL"] == ""
        assert {"acc@1 low", "acc@1 high", "acc@1 n", "less greedy", "verdict_acc"} <= rows[
            "reask"
        ].keys()
        text = (tmp_path / "table.md").read_text()
        assert "| `self_refine` | 2 |" in text
        assert (tmp_path / "runs" / "echo_flips" / "reask" / "manifest.json").is_file()

    def test_a_finished_survey_is_read_and_its_folder_holds_no_other(
        self, tmp_path: Path, capsys
    ) -> None:
        assert survey("reask", *SMALL[4:], "--no-controls", "--out", tmp_path) == 0
        first = (tmp_path / "table.json").read_bytes()
        written = (tmp_path / "calls.jsonl").stat().st_mtime_ns
        assert survey("reask", *SMALL[4:], "--no-controls", "--out", tmp_path) == 0
        assert (tmp_path / "table.json").read_bytes() == first
        assert (tmp_path / "calls.jsonl").stat().st_mtime_ns == written
        assert survey("reask", *SMALL[4:], "--no-controls", "--seed", 1, "--out", tmp_path) == 2
        assert "holds a survey with another seed" in capsys.readouterr().err

    def test_a_killed_survey_goes_on_to_the_same_table(self, tmp_path: Path, capsys) -> None:
        slow = ["--model-args", "delay=0.05", "--no-controls", "--batch-size", 1]
        arguments = ["survey", *map(str, [*SMALL, *slow]), "--json", "--out"]
        calls = tmp_path / "killed" / "calls.jsonl"
        process = subprocess.Popen(
            [sys.executable, "-m", "evaluators", *arguments, str(calls.parent)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and (
            not calls.exists() or calls.read_bytes().count(b"\n") < 5
        ):
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept = calls.read_bytes().rpartition(b"\n")[0]
        assert not (calls.parent / "table.json").exists()
        assert run_command([*arguments, str(calls.parent)]) == 0
        assert run_command([*arguments, str(tmp_path / "whole")]) == 0
        capsys.readouterr()
        assert calls.read_bytes().startswith(kept)
        tables = [
            json.loads((tmp_path / f / "table.json").read_text()) for f in ("killed", "whole")
        ]
        assert tables[0] == tables[1]

    def test_refuses_a_method_that_is_not_installed(self, tmp_path: Path, capsys) -> None:
        assert survey("reas", *SMALL[4:], "--out", tmp_path / "none") == 2
        assert "Did you mean reask" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()
