"""Progress bars on standard error while an evaluation runs."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluators.controls import calls_at_most, controls_at_most
from evaluators.metrics import planned_effect
from evaluators.model import SampleResult
from evaluators.session import Method, Part, Watcher


class ProgressBars(Watcher):
    """A bar per evaluator and task; lines instead of bars where there is no terminal."""

    def __init__(self, *, quiet: bool, replicates: int = 1, controls: bool = True) -> None:
        """Draw nothing yet.

        Args:
            quiet: Never draw anything.
            replicates: How often each sample is asked.
            controls: Methods will be held against others.
        """
        self._controls = controls
        self._replicates = replicates
        self._console = Console(stderr=True, quiet=quiet)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._bars: dict[tuple[str, str], int] = {}
        self._unscored: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing and leave the last state on the screen."""
        self._progress.stop()

    def stage(self, text: str) -> None:
        """Print a line for a long step."""
        self._console.print(f"{text} …")

    def planned(self, parts: Sequence[Part]) -> None:
        """Make a bar for each part."""
        self.stage(f"Evaluating {sum(part.planned for part in parts)} samples")
        for part in parts:
            self._add(part, f"{part.method.name} on {part.task.name}")
        for task, planned in {part.task.name: part.planned for part in parts}.items():
            self._console.print(self._in_reach(task, planned), highlight=False)
        for method in {part.method.name: part.method for part in parts}.values():
            if self._controls and method.evaluator.controls:
                samples = sum(part.planned for part in parts if part.method.name == method.name)
                self._console.print(_extra(method, samples), highlight=False)

    def control(self, part: Part) -> None:
        """Make a bar for a control; by now it is known which one it is."""
        self._add(part, f"{part.method.name} on {part.task.name} (control)")

    def _add(self, part: Part, name: str) -> None:
        self._bars[_key(part)] = self._progress.add_task(name, total=part.planned, note="")

    def _in_reach(self, task: str, planned: int) -> str:
        """Say what a run of that size can find, while there is time to plan another."""
        questions = max(1, planned // self._replicates)
        effect = planned_effect(questions, replicates=self._replicates)
        times = f", each {self._replicates} times" if self._replicates > 1 else ""
        return (
            f"{task}: {questions} questions{times} show paired differences of about"
            f" {effect:.2f} and more (4 times in 5, before anything is known of their spread)."
        )

    async def result(self, part: Part, result: SampleResult) -> None:
        """Move the bar of the part that the sample belongs to."""
        key = _key(part)
        if result.status != "ok":
            self._unscored[key] = self._unscored.get(key, 0) + 1
        count = self._unscored.get(key)
        self._progress.update(
            self._bars[key],  # type: ignore[arg-type]  # rich's TaskID is an int
            advance=1,
            note=f"{count} unscored" if count else "",
        )


def _extra(method: Method, samples: int) -> str:
    """Say what a method's controls cost at most, before anything is asked."""
    name, calls = method.name, calls_at_most(method.evaluator, method.params)
    sized, vote = controls_at_most(method.evaluator, calls or 0)
    tokens = f" and a vote of up to {vote} for its tokens" if vote else ""
    if calls is None:
        return f"Controls of {name}: about as many calls each as it turns out to make{tokens}."
    more = f"{sized} {'call' if sized == 1 else 'calls'} more per sample"
    total = samples * (sized + vote)
    return f"Controls of {name}: at most {more}{tokens}, {total} in all; equal draws are made once."


def _key(part: Part) -> tuple[str, str]:
    return part.method.name, part.task.name
