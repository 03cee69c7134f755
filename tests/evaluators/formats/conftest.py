"""Results as a run would leave them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import (
    AnswerState,
    Failure,
    Grade,
    Message,
    Node,
    Sample,
    SampleResult,
    Sampling,
    Usage,
    Verdict,
    assistant,
    system,
    user,
)
from evaluators.ports import TaskInfo
from evaluators.tasks.spec import TaskSpec

MakeResult = Callable[..., SampleResult]


def make_result(
    index: int = 0,
    correct: tuple[bool, ...] = (False, True),
    *,
    task: str = "sums",
    replicate: int = 0,
) -> SampleResult:
    """Return a graded sample with a call per answer and two filters."""
    question = (user(f"{index} + 1?"),)
    sample = Sample(
        str(index), task, (system("Add."), *question), question, f"c{index}",
        metadata={"digits": 1},
    )  # fmt: skip
    nodes, answers, chat = [], [], list(sample.messages)
    for turn, right in enumerate(correct):
        text = f"It is {index + 1 if right else 'unclear'}"
        found = str(index + 1) if right else None
        nodes.append(
            Node(
                turn, "answer", "actor", turn, (turn - 1,) if turn else (), tuple(chat), text,
                "stop", Sampling(stop=("\n",)), Usage(10 * (turn + 1), 5), cached=turn == 0,
            )
        )  # fmt: skip
        scores = {"exact_match,strict": float(right), "exact_match,loose": 1.0}
        extractions = {"strict": found, "loose": str(index + 1)}
        grade = Grade(right, float(right), found, str(index + 1), scores, extractions)
        answers.append(AnswerState(turn, text, truncated=False, grade=grade, changed=turn > 0))
        chat += [Message("assistant", text, node=turn), user("Sure?")]
    return SampleResult(
        sample, replicate, "ok", tuple(answers), tuple(nodes), (Verdict(0, "wrong", 0, 0.25),),
        MappingProxyType({"rounds": len(correct) - 1}), "settled", seconds=1.25,
    )  # fmt: skip


def make_unscored(index: int = 99, *, task: str = "sums") -> SampleResult:
    """Return a sample whose evaluator raised."""
    sample = Sample(str(index), task, (user("?"),), (user("?"),))
    given = Node(0, "given", "actor", 0, (), (assistant("4"),), "4", None, None, None)
    return SampleResult(
        sample, 0, "unscored", nodes=(given,), failure=Failure("evaluator-crashed", "boom")
    )


@pytest.fixture(scope="session")
def result() -> MakeResult:
    return make_result


@pytest.fixture(scope="session")
def unscored() -> MakeResult:
    return make_unscored


@pytest.fixture(scope="session")
def task_info() -> Callable[[str], TaskInfo]:
    def make(name: str) -> TaskInfo:
        config = {
            "task": name,
            "metric_list": [{"metric": "exact_match", "higher_is_better": True}, "odd"],
        }
        return TaskInfo(
            name=name,
            version="2.0",
            size=50,
            sampling=Sampling(),
            metric="exact_match",
            filter="strict",
            threshold=1.0,
            num_fewshot=3,
            summary="Sums.",
            digest="d1gest",
            filters=("strict", "flexible"),
            config=config,
        )

    return make


ROOT = Path(__file__).resolve().parents[3]
STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def make_run(**changes: Any) -> RunInfo:
    """Return what a run of a small model says of itself."""
    plain = RunInfo(
        model="org/tiny model",
        model_source="hf",
        evaluator="reask",
        evaluator_version="0.1.0",
        started=STARTED,
        model_args={"pretrained": "org/tiny model"},
        params={"rounds": 2},
        model_sha="a" * 40,
        model_dtype="float32",
        fingerprint="f" * 64,
        batch_size=8,
        limit=4,
        seed=7,
        seconds=12.5,
        chat_template="{{ messages }}",
        roles={"critic": {"model": "org/critic", "model_args": {"revision": "main"}}},
        packages={"lm_eval": "0.4.13", "transformers": "5.0"},
    )
    return replace(plain, **changes)


@pytest.fixture(scope="session")
def a_run(result: Any, unscored: Any, task_info: Any) -> StoredRun:
    """A run of three rounds, two replicates and an unscored sample, on two tasks."""
    sums = [
        result(0, (False, True, True)),
        result(0, (True, True), replicate=1),
        result(1, (True,)),
        result(10, (False, False)),
        result(2, (True, False)),
        unscored(3),
    ]
    words = [result(0, (True, True), task="words/de")]
    return StoredRun(
        source=Path("run"),
        origin="redraft",
        run=make_run(),
        tasks={name: task_info(name) for name in ("sums", "words/de")},
        results={"sums": tuple(sums), "words/de": tuple(words)},
        specs={"sums": TaskSpec("sums", threshold=1.0, num_fewshot=3)},
        include_paths=("/tasks",),
    )


@pytest.fixture
def stored(a_run: StoredRun, tmp_path: Path) -> StoredRun:
    """The run, at home in a folder of its own."""
    return replace(a_run, source=tmp_path / "run")


@pytest.fixture(scope="session")
def others() -> str:
    """A Python that has the other tools' readers; `make formats` makes it."""
    python = ROOT / ".venv-formats" / "bin" / "python"
    if not python.with_name("inspect").exists():
        pytest.skip("other tools' readers are not installed: make formats")
    return str(python)
