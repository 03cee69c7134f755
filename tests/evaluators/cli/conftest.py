"""Runs of a small task that a test may change between running and scoring."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluators.cli import run_command

LOAD = """
import datasets

QUESTIONS = ["<<4|4>> a", "<<4|5>> b", "<<5|4>> c", "<<5|5>> d", "<<four|4>> e", "<<4|nothing>> f"]

def load(**kwargs):
    rows = [{"question": text, "answer": "ANSWER"} for text in QUESTIONS]
    return {"test": datasets.Dataset.from_list(rows)}
"""

TASK = """
task: fours
custom_dataset: !function load_fours.load
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 8
filter_list:
  - name: number
    filter:
      - function: regex
        regex_pattern: "PATTERN"
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""

Command = Callable[..., int]
WriteTask = Callable[..., Path]


@pytest.fixture
def command() -> Command:
    def run(*arguments: object) -> int:
        return run_command([str(argument) for argument in arguments])

    return run


def written(folder: Path, *, pattern: str, answer: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "load_fours.py").write_text(LOAD.replace("ANSWER", answer))
    (folder / "fours.yaml").write_text(TASK.replace("PATTERN", pattern))
    return folder


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    """Write the task, or another of its name: with what pattern it extracts, and what is right."""

    def write(*, pattern: str = "([0-9]+)", answer: str = "4") -> Path:
        return written(tmp_path / "tasks", pattern=pattern, answer=answer)

    return write


@pytest.fixture
def evaluate(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Run evaluators on the task and return the folder of results."""

    def run(folder: Path, tasks: Path, *evaluators: str) -> Path:
        code = command(
            "run", *evaluators, "--model", "echo", "--task", "fours",
            "--include-path", tasks, "--out", folder, "--no-controls", "--json",
        )  # fmt: skip
        assert code == 0, capsys.readouterr().err
        capsys.readouterr()
        return folder

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results below, made once."""
    home = tmp_path_factory.mktemp("made")
    tasks = written(home / "tasks", pattern="([0-9]+)", answer="4")
    command = ["run", "reask", "single_pass", "--model", "echo", "--task", "fours"]
    options = ["--include-path", str(tasks), "--out", str(home / "out"), "--no-controls", "--json"]
    assert run_command([*command, *options]) == 0
    return home


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """Results of two evaluators: 3 of 6 are right at first and at last, 1 of them both times."""
    for name in ("tasks", "out"):
        shutil.copytree(made / name, tmp_path / name)
    for file in (tmp_path / "out").rglob("*.json"):  # where the task lies stands in there
        file.write_text(file.read_text().replace(str(made), str(tmp_path)))
    return tmp_path / "out"


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on two tasks, with their controls."""
    home = tmp_path_factory.mktemp("kept")
    tasks = written(home / "tasks", pattern="([0-9]+)", answer="4")
    asked = ["run", "reask", "review_improve", "--model", "echo", "--model-args", "sample=true"]
    options = ["--task", "fours", "--task", "echo_flips", "--limit", "6", "--json"]
    places = ["--include-path", str(tasks), "--out", str(home / "out")]
    assert run_command([*asked, *options, *places]) == 0
    return home / "out"
