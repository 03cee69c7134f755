"""`judge`: how good anyone's verdicts or choices between two responses are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluators.cli.asked import METRICS, metrics_named
from evaluators.critique import LOCATIONS, PAIR_POLICIES, POLICIES
from evaluators.errors import BadParameter

if TYPE_CHECKING:
    from evaluators.formats.judgements import Rows
    from evaluators.metrics import Estimate, Metric
    from evaluators.model import Json

_LISTED = "; ".join(
    [f"{p.name}: {p.summary}" for p in POLICIES.values()]
    + [f"{p.name}: {p.summary}" for p in PAIR_POLICIES.values()]
)


@click.command("judge")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--policy",
    type=click.Choice([*POLICIES, *PAIR_POLICIES]),
    help=f"How replies are read, and what an unreadable one counts as. {_LISTED}.",
)
@click.option("--locate", type=click.Choice([*LOCATIONS]), help="How a reply names the wrong step.")
@METRICS
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def judge(
    file: Path,
    *,
    policy: str | None,
    locate: str | None,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score verdicts that anybody's judge gave, without a model.

    FILE holds a JSON object per line; `-` reads standard input. A verdict on an answer: {"id": …,
    "correct": true, "verdict": "correct", "wrong", "unsure" or null}; "score", "location",
    "gold_location", "cluster" and "task" may be added. A choice between two: {"id": …, "first":
    "x", "second": "y", "chosen": "x", "gold": "y"}, a line per order shown. Instead of verdict or
    chosen, "reply" may hold the judge's raw text.
    """
    from evaluators.formats.judgements import pairs_in
    from evaluators.formats.lines import read_objects

    rows = list(read_objects(file))
    paired = pairs_in(rows)
    if paired and metrics:
        reason = "metrics of runs are about verdicts, and the file holds choices between two"
        raise BadParameter(owner="judge", name="metric", value=metrics[0], reason=reason)
    found = (
        _pairs(file, rows, name=policy)
        if paired
        else _verdicts(file, rows, name=policy, locate=locate, besides=metrics_named(metrics))
    )
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        _print(file, found)


@dataclass(frozen=True, slots=True)
class Found:
    """Figures of every task, under one policy."""

    kind: str
    """`verdicts` or `pairs`."""
    policy: str
    summary: str
    headline: str
    """The figure that the policy's benchmark reports."""
    tasks: Mapping[str, Mapping[str, Estimate]]

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON; `macro` averages over tasks, each with the same weight."""
        from evaluators.metrics.decompose import macro_of

        tasks = {task: _plain(figures) for task, figures in self.tasks.items()}
        return {
            "kind": self.kind,
            "policy": {"name": self.policy, "summary": self.summary},
            "headline": self.headline,
            "tasks": tasks,
            "macro": _plain(macro_of(self.tasks)),
        }


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Json]:
    return {name: estimate.to_json() for name, estimate in figures.items()}


def _policy(name: str | None, known: Mapping[str, object], default: str, kind: str) -> str:
    if name is not None and name not in known:
        reason = f"the file holds {kind}; policies for them: {', '.join(known)}"
        raise BadParameter(owner="judge", name="policy", value=name, reason=reason)
    return name or default


def _verdicts(
    file: Path, rows: Rows, *, name: str | None, locate: str | None, besides: Sequence[Metric]
) -> Found:
    from evaluators.formats.judgements import Given, read_judgements, trajectories
    from evaluators.metrics import Graded
    from evaluators.metrics.decompose import contained
    from evaluators.metrics.verification import Verdicts, verify

    policy = POLICIES[_policy(name, POLICIES, "redraft", "verdicts")]
    by_task: dict[str, list[Given]] = defaultdict(list)
    for given in read_judgements(file, rows, policy=policy.name, locate=locate):
        by_task[given.task].append(given)
    tasks = {
        task: verify(
            Verdicts(
                [g.judgement for g in lines],
                clusters=[g.cluster for g in lines],
                unread=policy.unread,
            ),
            asked=name is not None or any(g.asked for g in lines),
        )
        | {metric.name: contained(metric, Graded(trajectories(lines))) for metric in besides}
        for task, lines in by_task.items()
    }
    headline = "verdict_F1_wrong" if policy.name == "thu" else "verdict_acc"
    return Found("verdicts", policy.name, policy.summary, headline, tasks)


def _pairs(file: Path, rows: Rows, *, name: str | None) -> Found:
    from evaluators.formats.judgements import read_decisions
    from evaluators.metrics.pairwise import Decision, judge_pairs

    policy = PAIR_POLICIES[_policy(name, PAIR_POLICIES, "judgebench", "choices between two")]
    by_task: dict[str, list[Decision]] = defaultdict(list)
    for task, decision in read_decisions(file, rows, policy=policy.name):
        by_task[task].append(decision)
    tasks = {task: judge_pairs(decisions) for task, decisions in by_task.items()}
    return Found("pairs", policy.name, policy.summary, policy.headline, tasks)


def _print(file: Path, found: Found) -> None:
    from rich.console import Console

    from evaluators.cli.render import figures_table

    console = Console()
    caption = f"Policy {found.policy}: {found.summary}. It reports {found.headline}."
    for task, figures in found.tasks.items():
        shown = {name: e for name, e in figures.items() if e.value is not None or e.n}
        console.print(figures_table(task or file.name, shown, title_of=_titles()))
        console.print(caption, highlight=False)
        console.print()


def _titles() -> Callable[[str], str]:
    from evaluators.metrics import get
    from evaluators.metrics.pairwise import NAMES

    return lambda name: name if name in NAMES else get(name).title
