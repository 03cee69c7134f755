"""The command line: what it prints, what it refuses, and what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.cli import run_command

ECHO = ["--model", "echo", "--task", "echo_flips"]


def command(*arguments: object) -> int:
    return run_command([str(argument) for argument in arguments])


class TestList:
    def test_names_evaluators_with_their_distribution(self, capsys) -> None:
        assert command("list", "--json") == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert {"single_pass", "reask", "review_improve", "self_refine", "self_consistency"} <= set(
            rows
        )
        assert rows["reask"]["distribution"] == "redraft-self-correction"

    def test_says_what_evaluators_need_and_runtimes_can_do(self, capsys) -> None:
        assert command("list", "--json") == 0
        needs = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert command("list", "runtimes", "--json") == 0
        offers = {row["name"]: row["offers"] for row in json.loads(capsys.readouterr().out)}
        assert needs["choice_likelihood"]["requires"] == ["echo"]
        assert needs["choice_likelihood"]["modes"] == ["likelihood"]
        assert needs["reask_logits"]["requires"] == ["chat", "label_likelihood"]
        assert offers["lm-eval"] == offers["echo"] == [
            "chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo",
        ]  # fmt: skip
        assert offers["vllm"] == offers["endpoint"] == [*offers["lm-eval"], "n"]

    def test_says_how_tasks_can_be_put(self, capsys) -> None:
        assert command("list", "tasks", "--json") == 0
        modes = {row["name"]: row["modes"] for row in json.loads(capsys.readouterr().out)}
        assert modes["rg_gcd"] == ["generate_until"]
        assert modes["rgmc_syllogism"] == ["generative", "likelihood"]

    @pytest.mark.parametrize("kind", ["tasks", "suites", "runtimes", "metrics", "models"])
    def test_lists_every_kind(self, kind: str, capsys) -> None:
        assert command("list", kind, "--json") == 0
        assert json.loads(capsys.readouterr().out)

    def test_imports_no_plugin(self) -> None:
        probe = (
            "import sys; from evaluators.cli import run_command; run_command(['list']);"
            "heavy = {'torch', 'lm_eval', 'pydantic', 'asyncio'};"
            "print([m for m in sys.modules if m.startswith('redraft_') or m in heavy])"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


class TestDecompose:
    def test_prints_counts_and_intervals(self, tmp_path: Path, capsys) -> None:
        file = tmp_path / "t.jsonl"
        lines = [[True, True], [True, False], [False, True], [False, False]]
        file.write_text(
            "".join(json.dumps({"id": str(i), "correct": c}) + "\n" for i, c in enumerate(lines))
        )
        assert command("decompose", file, "--json") == 0
        estimates = json.loads(capsys.readouterr().out)["tasks"][""]["estimates"]
        assert (estimates["CL"]["value"], estimates["CL"]["denominator"]) == (0.5, 2)
        assert estimates["CL"]["method"] == "wilson"
        assert command("decompose", file) == 0
        assert "CL" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"id": "b", "correct": [true', "JSON"),
            ('["b"]', "object"),
            ('{"id": "b"}', "correct"),
            ('{"id": "b", "correct": []}', "correct"),
            ('{"id": "b", "correct": [1]}', "correct"),
            ('{"id": "a", "correct": [true]}', "stands in line 1 already"),
        ],
        ids=["cut-off", "array", "missing", "empty", "number", "duplicate"],
    )
    def test_refuses_a_bad_line_by_its_number(
        self, line: str, reason: str, tmp_path: Path, capsys
    ) -> None:
        file = tmp_path / "t.jsonl"
        file.write_text('{"id": "a", "correct": [true]}\n' + line + "\n")
        assert command("decompose", file) == 2
        error = capsys.readouterr().err
        assert f"{file}:2: " in error
        assert reason in error
        assert error.count("\n") == 1

    def test_refuses_a_missing_file(self, tmp_path: Path, capsys) -> None:
        assert command("decompose", tmp_path / "none.jsonl") == 2
        assert "none.jsonl" in capsys.readouterr().err


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["reaks", *ECHO], "No evaluator named 'reaks' is installed. Did you mean reask"),
            (["reask", "--model", "echo", "--task", "echo_flip"], "No task named 'echo_flip'"),
            (["reask", "--model", "ech", "--task", "echo_flips"], "ech"),
            (["reask", *ECHO, "--param", "rounds=99"], "rounds"),
            (["reask", *ECHO, "--param", "turns=1"], "known parameters: rounds"),
            (["reask", *ECHO, "--param", "rounds"], "k=v"),
            (["reask", *ECHO, "--limit", "0"], "0"),
            (["reask", *ECHO, "--limit", "100000"], "100000"),
            (["reask", "--model", "echo"], "--task"),
            (["reask", *ECHO, "--suite", "demo"], "--suite"),
            (["reask", *ECHO, "--model-args", "a"], "key=value"),
            (["reask", *ECHO, "--critic", "echo"], "none of reask has a critic"),
            (["reask", *ECHO[2:], "--model", "hf", "--model-args", "pretrained=/none"], "/none"),
        ],
        ids=[
            "evaluator", "task", "model", "range", "parameter", "pair", "zero", "beyond",
            "nothing", "both", "arguments", "critic", "path",
        ],
    )  # fmt: skip
    def test_are_one_line_and_leave_nothing(
        self, arguments: list[str], reason: str, tmp_path: Path, capsys
    ) -> None:
        assert command("run", *arguments, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert reason in error.splitlines()[-1]
        assert not (tmp_path / "out").exists()

    def test_come_as_json_too(self, capsys) -> None:
        assert command("run", "reaks", *ECHO, "--json") == 2
        assert json.loads(capsys.readouterr().out)["error"]["id"] == "not-installed"


class TestRun:
    def test_evaluates_without_django(self, tmp_path: Path) -> None:
        probe = (
            "import sys, json; from evaluators.cli import run_command;"
            "code = run_command(sys.argv[1:]);"
            "print(json.dumps('django' in sys.modules)); sys.exit(code)"
        )
        arguments = ["run", "reask", "single_pass", *ECHO, "--limit", "40", "--out", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-c", probe, *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        *body, django = done.stdout.splitlines()
        assert django == "false"
        rows = {row["evaluator"]: row for row in json.loads("\n".join(body))["results"]}
        assert rows["reask"]["n"] == 40
        first = rows["reask"]["estimates"]["acc@1"]["value"]
        assert first == rows["single_pass"]["estimates"]["acc@1"]["value"]
        assert list(tmp_path.rglob("results_*.json"))
        assert list(tmp_path.rglob("samples_echo_flips_*.jsonl"))

    def test_a_runtime_that_dies_is_one_line(self, tmp_path: Path, capsys) -> None:
        died = ["--model-args", "fail_after=5", "--limit", "20", "--out", tmp_path / "out"]
        assert command("run", "reask", *ECHO, *died) == 1
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert error.splitlines()[-1].startswith("error: runtime-unavailable")
        assert not (tmp_path / "out").exists()

    def test_another_model_plays_the_critic(self, tmp_path: Path, capsys) -> None:
        critic = ["--critic", "echo", "--critic-args", "sample=true"]
        options = ["--limit", "4", "--json", "--out", tmp_path]
        assert command("run", "review_improve", *ECHO, *critic, *options) == 0
        assert json.loads(capsys.readouterr().out)["roles"] == {"critic": "echo"}

    def test_refuses_a_critic_that_cannot_do_what_it_is_asked(self, capsys) -> None:
        critic = ["--critic", "echo", "--critic-args", "capabilities=chat+prefix"]
        assert command("run", "reask", "p_true", *ECHO, *critic, "--limit", "2") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "its runtime lacks label_likelihood, which p_true needs" in error

    def test_replicates_are_trajectories_of_one_sample(self, capsys) -> None:
        sampled = ["--model-args", "sample=true", "--replicates", "5", "--temperature", "1"]
        assert command("run", "reask", *ECHO, *sampled, "--limit", "12", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["results"]
        assert (row["n"], row["clusters"]) == (60, 12)
        assert row["estimates"]["acc@1"]["method"] == "cluster bootstrap"

    def test_is_the_same_twice(self, capsys) -> None:
        arguments = ["run", "self_consistency", *ECHO, "--limit", "12", "--json"]
        prints = []
        for in_flight in (1, 12):
            assert command(*arguments, "--in-flight", in_flight) == 0
            prints.append(json.loads(capsys.readouterr().out)["results"])
        assert prints[0] == prints[1]


class TestNew:
    def test_makes_a_package_that_works(self, tmp_path: Path, capsys, monkeypatch) -> None:
        assert command("new", "my_method", "--into", tmp_path) == 0
        folder = tmp_path / "redraft-my-method"
        site = tmp_path / "site"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--target", str(site), str(folder)], check=True, capture_output=True)
        monkeypatch.setenv("PYTHONPATH", str(site))
        checked = subprocess.run(
            [sys.executable, "-m", "evaluators", "check", "my_method"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        tested = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:django",
                "-c",
                "pyproject.toml",
                "tests",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert tested.returncode == 0, tested.stdout

    @pytest.mark.parametrize("name", ["My-Method", "class", "1st", "../up"])
    def test_refuses_a_bad_name(self, name: str, tmp_path: Path, capsys) -> None:
        assert command("new", name, "--into", tmp_path) == 2
        assert "snake_case" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_refuses_to_overwrite(self, tmp_path: Path, capsys) -> None:
        assert command("new", "again", "--into", tmp_path) == 0
        assert command("new", "again", "--into", tmp_path) == 2
        assert "exists already" in capsys.readouterr().err


class TestCheck:
    @pytest.mark.parametrize(
        "name", ["single_pass", "reask", "review_improve", "self_refine", "self_consistency"]
    )
    def test_passes_every_bundled_evaluator(self, name: str, capsys) -> None:
        assert command("check", name) == 0, capsys.readouterr().out

    def test_refuses_an_unknown_name(self, capsys) -> None:
        assert command("check", "nobody") == 2
        assert "No evaluator named 'nobody'" in capsys.readouterr().err
