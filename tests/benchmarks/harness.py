"""What every benchmark does alike: alternating pairs, medians with intervals, a verdict.

A benchmark gives two sides that do the same work. They run one after the other in pairs whose order
alternates, at least five of them; each side says how long it took to start, how long the work took,
and what came out, which must be the same on both sides of every pair. The figure is the median over
the pairs of the ratio of the two sides, with the 95 % percentile bootstrap interval of the median
(`scipy.stats.bootstrap`, 9,999 resamples). A goal is met when the interval reaches it.

Prints a table for people and one line of JSON, and ends with status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SMOLLM2 = "pretrained=bundled/smollm2-135m-instruct,dtype=float32"
"""The model that benchmarks run, as `--model-args` say it."""

RIVALS = Path(os.environ.get("BENCH_PYTHON", ROOT / "var" / "bench" / "bin" / "python"))
"""Python of the environment that holds what we are measured against (requirements/bench.txt)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One side of a pair."""

    work: float
    """Seconds, from the first prompt to the last grade."""
    startup: float = 0.0
    """Seconds: imports, loading tasks and models, connecting."""
    outcome: Mapping[str, Any] = field(default_factory=dict)
    """What came out, sample by sample, in a form that must be equal on both sides."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Whatever else was counted."""


Side = Callable[[], Run]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the median of one ratio per pair."""

    what: str
    ratios: Sequence[float]
    bound: float
    kind: Literal["at most", "at least"] = "at most"

    @property
    def median(self) -> float:
        """The figure."""
        return float(np.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median; the value itself where there is nothing to resample."""
        if len(set(self.ratios)) == 1:
            return self.median, self.median
        found = stats.bootstrap(
            (np.asarray(self.ratios),), np.median, method="percentile", rng=0, n_resamples=9_999
        ).confidence_interval
        return float(found.low), float(found.high)

    @property
    def met(self) -> bool:
        """Whether the interval reaches the bound."""
        low, high = self.interval
        return low <= self.bound if self.kind == "at most" else high >= self.bound

    def row(self) -> str:
        """Return the line for people."""
        low, high = self.interval
        return (
            f"  {self.what:<52} median {self.median:6.3f}  (95 % {low:.3f} to {high:.3f})  "
            f"goal {self.kind} {self.bound:g}: {'met' if self.met else 'MISSED'}"
        )

    def wire(self) -> dict[str, Any]:
        """Return the line for programs."""
        low, high = self.interval
        return {
            "what": self.what,
            "median": round(self.median, 4),
            "interval": [round(low, 4), round(high, 4)],
            "ratios": [round(ratio, 4) for ratio in self.ratios],
            "goal": f"{self.kind} {self.bound:g}",
            "met": self.met,
        }


def options(doc: str | None, *, pairs: int = 5, **defaults: Any) -> argparse.Namespace:
    """Read the command line: `--pairs`, `--quick`, and an option for every default."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=pairs)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two small pairs: shows that it works, measures nothing",
    )
    for name, default in defaults.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str if default is None else type(default),
            default=default,
        )
    given = parser.parse_args()
    if given.quick:
        given.pairs = 2
    return given


def alternate(
    first: Side, second: Side, pairs: int, *, tolerance: float = 0.0
) -> list[tuple[Run, Run]]:
    """Run both sides in pairs, each pair in the other order than the one before.

    Ends the benchmark when the two sides of a pair did not come to the same.

    Args:
        tolerance: Share of the outcomes that may differ: a server that batches whatever comes
            rounds differently with other batch mates, and now and then a greedy text turns.
    """
    found: list[tuple[Run, Run]] = []
    for number in range(pairs):
        if number % 2:
            ours = first()
            pair = (ours, second())
        else:
            theirs = second()
            pair = (first(), theirs)
        require_equal(*pair, tolerance=tolerance)
        found.append(pair)
        print(f"pair {number + 1}: work {pair[0].work:.2f} s and {pair[1].work:.2f} s", flush=True)
    return found


def require_equal(ours: Run, theirs: Run, *, tolerance: float = 0.0) -> None:
    """End the benchmark unless both sides came to the same, naming the first differences."""
    keys = sorted({*ours.outcome, *theirs.outcome})
    odd = [key for key in keys if ours.outcome.get(key) != theirs.outcome.get(key)]
    if odd:
        print(f"{len(odd)} of {len(keys)} outcomes differ", flush=True)
    if not keys or len(odd) > tolerance * len(keys):
        shown = [f"{key}: {ours.outcome.get(key)!r} / {theirs.outcome.get(key)!r}" for key in odd]
        sys.exit("more than may differ:\n" + "\n".join(shown[:5]))


def ratios(pairs: Sequence[tuple[Run, Run]], what: Callable[[Run], float]) -> list[float]:
    """Return one ratio per pair, ours over theirs."""
    return [what(ours) / what(theirs) for ours, theirs in pairs]


def work(run: Run) -> float:
    """Return the seconds of the work."""
    return run.work


def report(
    title: str,
    *,
    sides: Mapping[str, Sequence[Run]],
    goals: Sequence[Goal],
    given: argparse.Namespace,
    notes: Sequence[str] = (),
) -> None:
    """Print what was measured and end the process: with status 1 when a goal is missed."""
    print(f"\n{title}")
    for name, runs in sides.items():
        print(_row(f"{name}: work, s", [run.work for run in runs]))
        print(_row(f"{name}: start-up, s", [run.startup for run in runs]))
        for figure in runs[0].figures:
            print(_row(f"{name}: {figure}", [run.figures[figure] for run in runs]))
    for line in (*notes, *(goal.row() for goal in goals)):
        print(line)
    print(json.dumps({
        "benchmark": Path(sys.argv[0]).stem,
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{os.cpu_count()} × {platform.machine()}, Python {platform.python_version()}",
        "settings": vars(given),
        "goals": [goal.wire() for goal in goals],
    }))  # fmt: skip
    if given.quick:
        sys.exit(0)
    sys.exit(0 if all(goal.met for goal in goals) else 1)


def _row(name: str, values: Sequence[float]) -> str:
    singles = " ".join(f"{value:.4g}" for value in values)
    return f"  {name:<52} {np.median(values):10.4g}   ({singles})"


def run_side(
    name: str,
    asked: Mapping[str, Any],
    *,
    python: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a side in a process of its own; the last line that it prints is its `Run` as JSON.

    Args:
        name: `redraft`, or a rival's, which runs in the environment of its own.
        asked: What the side's file says that it reads.
        python: Another environment's Python.
        environment: Further variables.
    """
    python = python or (sys.executable if name == "redraft" else RIVALS)
    command = [python, HERE / f"{name}_side.py", json.dumps(asked)]
    env = {**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(
            f"{' '.join(map(str, command))} failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
        )
    return Run(**json.loads(ran.stdout.strip().rpartition("\n")[2]))


def say(run: Run) -> None:
    """Print a side's result as `run_side` reads it."""
    print(
        json.dumps({
            "work": run.work,
            "startup": run.startup,
            "outcome": run.outcome,
            "figures": dict(run.figures),
        })
    )  # fmt: skip


def require_rivals() -> None:
    """End in words where the environment to measure against is missing."""
    if not RIVALS.exists():
        sys.exit(f"{RIVALS} is missing: `make bench` makes it from requirements/bench.txt")


@contextmanager
def instant_server(*options: str) -> Iterator[str]:
    """Run the server without a model; yields its URL up to `/v1`."""
    command = [sys.executable, str(HERE / "instant_server.py"), *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    finally:
        server.kill()
        server.wait()


def fetch(url: str) -> Any:
    """Return the JSON that a local server answers."""
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
        return json.load(answer)


def write_prompts(task: str, limit: int, path: Path) -> None:
    """Write the first user messages of a task as lines of id, content and target."""
    from evaluators.tasks import TaskSpec, open_tasks

    async def lines() -> list[str]:
        async with open_tasks([TaskSpec(task)], include_paths=[HERE / "tasks"]) as tasks:
            samples = await tasks[task].samples(limit)
            golds = [(await tasks[task].grade(sample.id, [""]))[0].gold for sample in samples]
        return [
            json.dumps({"id": sample.id, "content": sample.messages[-1].content, "target": gold})
            for sample, gold in zip(samples, golds, strict=True)
        ]

    path.write_text("\n".join(asyncio.run(lines())))


@dataclass(frozen=True, slots=True)
class Served:
    """A server that both sides of a benchmark ask."""

    url: str
    name: str
    """What it calls its model."""
    startup: float


@contextmanager
def served(runtime: str, model: str, args: str, *, batch_size: int = 16) -> Iterator[Served]:
    """Start one of our runtimes behind a TCP port."""
    command = [sys.executable, HERE / "served.py", runtime, model, args, str(batch_size)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        line = server.stdout.readline()
        if not line:
            sys.exit(f"the runtime {runtime} did not start")
        yield Served(**json.loads(line))
    finally:
        server.stdin.close()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def served_by(given: argparse.Namespace) -> AbstractContextManager[Served]:
    """Start the runtime that the command line names, with room for all that is in flight."""
    model = "vllm" if given.runtime == "vllm" else "hf"
    batch_size = given.in_flight if given.runtime == "vllm" else 16
    return served(given.runtime, model, given.model_args, batch_size=batch_size)


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a chat message, whichever way it is written."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
