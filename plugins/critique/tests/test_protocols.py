"""The benchmarks whole: rows of their form are fetched, put, judged, corrected and counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluators.engine import evaluate
from evaluators.grading import shared
from evaluators.metrics import Trajectory, decompose
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.testing import ScriptedModel
from evaluators.testing.stub_hub import stub_hub
from redraft_critique.critique_accuracy import critique_accuracy
from redraft_critique.critique_by_correction import critique_by_correction
from redraft_critique.critique_then_correct import critique_then_correct

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lm-eval's dependencies

COMMIT = "0123456789" * 4

GQC = [
    ("GSM8K", "1 + 1 = ?", ["2"], "It is [[2]]", True, "[[correct]]", "[[2]]"),
    ("GSM8K", "1 + 2 = ?", ["3"], "It is 4", False, "Off. [[wrong]]", "So it is 3."),
    ("MATH", "Half of one?", ["\\frac{1}{2}"], "\\boxed{2}", False, "[[correct]]", "[[0.5]]"),
    ("AQuA", "Which? (A) 1 (B) 2", ["B"], "(B)", True, "[[wrong]]", "[[A]]"),
    ("StrategyQA", "Can it fly?", ["yes"], "No.", False, "It is incorrect.", "[[yes]]"),
    ("HotpotQA", "What band?", ["Green Day"], "Blue", False, "Hm.", "[[the Green Day]]"),
    ("Object Counting", "How many?", ["7"], "7", True, "Hm.", "[[7]]"),
    ("MBPP", "Write f.", ["assert f()", "def f(): 1"], "def f(): 0", False, "[[wrong]]", "1"),
]
"""Data set, question, golds, response, its label, what the critic says, what is answered then."""

Say = Callable[[str, bool], str]
"""What the model says: to a question, and whether it is asked for a critique."""


@pytest.fixture(autouse=True)
def _grader() -> Iterator[None]:
    yield
    shared().close()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put rows into a repository of a Hub of our own, from which the tasks fetch them."""
    monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("REDRAFT_DATA_DIR", raising=False)
    with stub_hub({"acme/set": {COMMIT: {}}}) as hub:

        def put(name: str, part: str, rows: list[dict[str, Any]]) -> None:
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            hub.repositories["acme/set"][COMMIT]["rows.jsonl"] = lines.encode()
            file = f'path = "rows.jsonl", local = "rows.jsonl", rows = {len(rows)}'
            (tmp_path / "sources.toml").write_text(
                f'[{name}]\nhub = "acme/set"\nrevision = "{COMMIT}"\nfiles.{part} = {{ {file} }}\n'
            )

        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("REDRAFT_SOURCES", str(tmp_path / "sources.toml"))
        yield put


async def figures(evaluator: Any, task_name: str, say: Say, **params: Any) -> Mapping[str, Any]:
    """Run a method over a whole task and return its figures."""
    results: list[Any] = []

    async def keep(result: Any) -> None:
        results.append(result)

    def script(request: Any) -> str:
        said = "\n".join(message.content for message in request.messages)
        return say(said, "Look for problems" in said or "## Critique" in said)

    async with open_tasks([TaskSpec(task_name)]) as tasks:
        task = tasks[task_name]
        await evaluate(
            evaluator, params, task=task, samples=await task.samples(),
            models={"actor": ScriptedModel(script)}, sink=keep,
        )  # fmt: skip
    found = decompose(map(Trajectory.from_result, results), metrics=evaluator.metrics)
    return found.estimates


class TestLin:
    """Generation, F1 of critique and correction (arXiv 2402.14809)."""

    @pytest.fixture(autouse=True)
    def _rows(self, publish: Callable[..., None]) -> None:
        rows = [
            {"id": i, "question": question, "question_source": source, "question_type": "some",
             "answer": golds, "response": response, "response_label": label}
            for i, (source, question, golds, response, label, *_) in enumerate(GQC)
        ]  # fmt: skip
        publish("criticbench_thu", "all", rows)

    @staticmethod
    def say(prompt: str, critic: bool) -> str:
        (row,) = [row for row in GQC if row[1] in prompt]
        return row[5] if critic else row[6]

    async def test_critique_is_scored_by_f1_of_wrong_over_all_responses_alike(self) -> None:
        """Five of eight are wrong; an unread verdict counts as whichever class is a mistake."""
        found = await figures(
            critique_accuracy, "criticbench_thu", self.say, policy="thu", prompt="problems",
            temperature=0.0,
        )  # fmt: skip
        hits, misses, false_alarms = 3, 2, 2
        f1 = found["verdict_F1_wrong"]
        assert f1.value == 2 * hits / (2 * hits + misses + false_alarms)
        assert (f1.n, found["verdict_unparsed"].numerator) == (8, 2)
        wrong = 5 / 8
        assert found["verdict_F1_guessed"].value == pytest.approx(wrong / (wrong + 0.5))

    async def test_correction_is_scored_as_every_data_set_scores_it(self) -> None:
        """Seven have answers that can be graded; code stays unscored and is counted so."""
        found = await figures(critique_then_correct, "criticbench_thu", self.say)
        assert (found["acc@1"].numerator, found["acc@last"].numerator) == (3, 6)
        assert (found["acc@last"].n, found["acc@last"].n_total) == (7, 8)
        assert (found["CL"].value, found["CS"].value) == (2 / 3, 1.0)

    async def test_generation_is_the_first_answer_of_self_critique(self) -> None:
        found = await figures(critique_then_correct, "criticbench_thu", self.say, own=True)
        assert (found["acc@1"].numerator, found["acc@1"].n) == (6, 7)


REALCRITIC = [
    ("A", "2 + 2 = ?", "4", "It is 4.", True, "Correct", -1, "\\boxed{4}"),
    ("B", "2 + 3 = ?", "5", "It is 5.", True, "Incorrect", 1, "\\boxed{6}"),
    ("A", "2 + 4 = ?", "6", "It is 7.", False, "Incorrect", 1, "\\boxed{6}"),
    ("B", "2 + 5 = ?", "7", "It is 9.", False, "Correct", -1, "\\boxed{9}"),
    ("A", "2 + 6 = ?", "8", "It is 9.", False, "Incorrect", 1, "\\boxed{8}"),
]


async def test_realcritic_counts_what_becomes_of_right_and_wrong_solutions(publish) -> None:
    """Of s0 and s1: c2c 1, c2i 1, i2c 2, i2i 1; N * acc = c2c + i2c."""
    rows = [
        {"idx": i, "question": question, "gt": gold, "gt_cot": "None", "pred": [""],
         "reasoning": reasoning, "model": model, "previous_score": [right]}
        for i, (model, question, gold, reasoning, right, *_) in enumerate(REALCRITIC)
    ]  # fmt: skip
    publish("realcritic", "gsm8k", rows)

    def say(prompt: str, critic: bool) -> str:
        assert critic
        (row,) = [row for row in REALCRITIC if row[1] in prompt]
        return (
            f"## Critique\n### Step 1\nChecked.\n## Conclusion\nVerdict: {row[5]}\n"
            f"First wrong step: {row[6]}\n## Correction\n{row[7]}"
        )

    found = await figures(critique_by_correction, "realcritic_gsm8k", say)
    cells = {name: found[name].value for name in ("n_cc", "n_ci", "n_ic", "n_ii")}
    assert cells == {"n_cc": 1, "n_ci": 1, "n_ic": 2, "n_ii": 1}
    assert (found["acc@1"].value, found["acc@last"].value) == (2 / 5, 3 / 5)
    assert (found["CL"].value, found["CS"].value) == (1 / 2, 2 / 3)
    assert found["delta"].value == pytest.approx(1 / 5)
    assert found["over_half"].value == pytest.approx(1 / 10)
    assert (found["verdict_acc"].numerator, found["correction_missing"].numerator) == (3, 0)
