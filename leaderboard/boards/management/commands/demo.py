"""Show what Redraft does: start everything, evaluate a small real model, fill the board."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evaluators.errors import InputError
from leaderboard.boards import demo
from leaderboard.core.stack import running_stack
from leaderboard.core.supervisor import StopRequested, Supervisor, stop_on_signals
from leaderboard.core.terminal import add_stack_arguments, speaker, wishes_from


class Command(BaseCommand):
    """Progress goes to stderr, so that stdout holds the summary alone."""

    help = "Start everything, evaluate the bundled model on a small suite, and show the board."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where to serve, and whether to stop when the board has its rows."""
        add_stack_arguments(parser)
        parser.add_argument(
            "--exit",
            action="store_true",
            help="stop when the board has its rows; print a JSON summary; exit code 1 on failure",
        )
        parser.add_argument(
            "--limit",
            type=int,
            metavar="N",
            help="samples per task, for a quicker look (default: the suite's 24)",
        )
        parser.add_argument(
            "--timeout",
            type=float,
            default=120.0,
            metavar="MINUTES",
            help="give up waiting for the evaluation after so long (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Evaluate, tell, and serve on unless told to exit."""
        wishes, console = wishes_from(options), Console(stderr=True)
        report = speaker(console)
        if wishes.workers == 0:
            raise CommandError("The demonstration needs a worker: leave --no-worker out.")
        found: dict[str, Any] = {}
        with (
            contextlib.suppress(StopRequested),
            stop_on_signals(),
            running_stack(wishes, report=report) as supervisor,
        ):
            report(f"Redraft is at {wishes.url} (logs in {supervisor.folder}).")
            # Who stays to look sees the controls come in; who does not gets no work left undone.
            runs = _submitted(options["limit"], controls=not options["exit"])
            found |= _evaluate(runs, supervisor, console, minutes=options["timeout"])
            for table in _tables(found):
                console.print(table)
            for reason in found["reasons"]:
                report(reason)
            if not options["exit"]:
                report(
                    f"The board is at {wishes.url} (Ctrl-C stops). "
                    "Controls at equal compute are still coming in."
                )
                _serve(supervisor)
        if options["exit"]:
            self._conclude(found, url=wishes.url)

    def _conclude(self, found: Mapping[str, Any], *, url: str) -> None:
        """Print the summary and exit with its verdict."""
        told = {**(found or {"ok": False, "reasons": ["stopped before the end"]}), "url": url}
        self.stdout.write(json.dumps(told, indent=1, ensure_ascii=False))
        if not told["ok"]:
            raise SystemExit(1)


def _submitted(limit: int | None, *, controls: bool) -> list[int]:
    try:
        return demo.submit_demo(limit=limit, controls=controls)
    except InputError as error:
        raise CommandError(str(error)) from error


def _evaluate(
    runs: Sequence[int], supervisor: Supervisor, console: Console, *, minutes: float
) -> dict[str, Any]:
    """Wait for the end while showing how far it is, and return what came out."""
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        show = _display(progress, runs)
        while not show() and time.monotonic() - started < minutes * 60:
            supervisor.tick()
            time.sleep(0.5)
    return {**demo.summary(runs), "seconds": round(time.monotonic() - started, 1)}


def _display(progress: Progress, runs: Sequence[int]) -> Callable[[], bool]:
    """Return a function that updates the bars and says whether all runs have settled."""
    bars = {}

    def show() -> bool:
        try:
            standings = demo.standings(runs)
        except DatabaseError:  # it is being started again
            connections.close_all()
            return False
        for run in standings:
            if run.evaluator not in bars:
                bars[run.evaluator] = progress.add_task(run.evaluator, total=None, state="")
            progress.update(
                bars[run.evaluator], completed=run.done, total=run.total, state=run.state
            )
        return all(run.settled for run in standings)

    return show


def _serve(supervisor: Supervisor) -> None:
    while True:
        supervisor.tick()
        time.sleep(0.5)


def _tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Show every figure above its interval, task by task, narrow enough for any terminal."""
    rows = [(task, run["evaluator"]) for run in found["evaluators"] for task in run["tasks"]]
    for name in sorted({task["task"] for task, _ in rows}):
        title = f"\n{found['model']} on {name}, with 95 % intervals"
        table = Table("evaluator", "n", *demo.FIGURES, title=title, box=None, pad_edge=False)
        table.padding = (0, 1, 0, 0)
        for column in table.columns:
            column.no_wrap = True
        for task, evaluator in rows:
            if task["task"] == name:
                figures = (_figure(task.get(figure)) for figure in demo.FIGURES)
                table.add_row(evaluator, f"{task['n']}/{task['n_total']}", *figures)
        yield table


def _figure(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:.2f}"
    return f"{estimate['value']:.2f}\n{estimate['low']:.2f}..{estimate['high']:.2f}"
