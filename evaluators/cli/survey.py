"""`survey`: every installed method on one model, and one table of what comes out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.cli.data import data_dir_option

if TYPE_CHECKING:
    from datetime import datetime

    from evaluators.registry import EvaluatorCard
    from evaluators.runtimes import ModelSpec
    from evaluators.session import Report
    from evaluators.survey import Leg, Survey, Wanted
    from evaluators.tasks import TaskSpec

SMALL_MODEL = "pretrained=bundled/smollm2-135m-instruct,dtype=float32"
"""The model that comes with the installation."""

QUESTIONS = (("rg_chain_sum_easy", "flexible"), ("rgmc_syllogism:generative", None))
"""Short questions that the small model gets partly right, one of them with options; each with the
filter that reads it, since models of that size seldom write the line that is asked for."""

CRITIQUE_TASKS = ("realcritic_gsm8k", "criticbench_thu_math", "bbm_multistep_arithmetic")
"""Solutions to judge: to correct, to call right or wrong, and to find the first mistake in."""


@click.command("survey")
@click.argument("methods", nargs=-1, metavar="[METHOD]...")
@click.option("--model", default="hf", show_default=True, help="As `run` takes it.")
@click.option("--model-args", default=SMALL_MODEL, show_default=True, help="As `run` takes them.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    show_default=" ".join(name for name, _ in QUESTIONS),
    help="May be repeated.",
)
@click.option("--filter", help="Primary filter of the tasks named, where they have several.")
@data_dir_option
@click.option(
    "--critique-task",
    "critique_tasks",
    multiple=True,
    default=CRITIQUE_TASKS,
    show_default=True,
    help="Solutions to judge, for methods that do; with --data-dir, or where named.",
)
@click.option("--limit", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--free-text-tokens",
    type=click.IntRange(min=1),
    default=96,
    show_default=True,
    help="Most tokens of critiques and other texts that are no answers.",
)
@click.option(
    "--reply-tokens",
    type=click.IntRange(min=64),
    default=256,
    show_default=True,
    help="The same where a method has a limit of its own: its max_tokens is lowered to this.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--controls/--no-controls", default=True, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def survey(**options: Any) -> None:
    """Run every installed method, or some, on a model, and write one table.

    Interrupted, it goes on where it was: start it again with the same --out. Writes table.md,
    table.csv and table.json, and a folder per task and method with all transcripts.
    """
    wanted = _wanted(options)
    cards = _cards(options["methods"])
    found = asyncio.run(_run(wanted, cards, options["out"], quiet=options["as_json"]))
    for path in _write(options["out"], found):
        click.echo(f"wrote {path}", err=True)
    _print(found, as_json=options["as_json"])


def _wanted(options: dict[str, Any]) -> Wanted:
    from evaluators.survey import Wanted
    from evaluators.tasks.environment import DATA_DIR

    judged = bool(os.environ.get(DATA_DIR)) or _chosen("critique_tasks")
    return Wanted(
        model=_model(options),
        tasks=_questions(options["tasks"], options["filter"]),
        critique_tasks=_tasks(options["critique_tasks"]) if judged else (),
        limit=options["limit"],
        max_tokens=options["max_tokens"],
        free_text_tokens=options["free_text_tokens"],
        reply_tokens=options["reply_tokens"],
        seed=options["seed"],
        controls=options["controls"],
    )


def _model(options: dict[str, Any]) -> ModelSpec:
    from evaluators.runtimes import ModelSpec, parse_model_args, runtime_names

    name = options["model"]
    runtime = name if name in runtime_names() else "lm-eval"
    given = options["model_args"] if runtime == "lm-eval" or _chosen("model_args") else ""
    return ModelSpec(runtime, name, parse_model_args(given), options["batch_size"])


def _chosen(option: str) -> bool:
    """Tell whether an option was given, and is not its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _questions(names: Sequence[str], reading: str | None) -> tuple[TaskSpec, ...]:
    filters = dict.fromkeys(names, reading) if names else dict(QUESTIONS)
    specs = _tasks(list(filters))
    return tuple(
        replace(spec, filter=reading) for spec, reading in zip(specs, filters.values(), strict=True)
    )


def _tasks(names: Sequence[str]) -> tuple[TaskSpec, ...]:
    from evaluators.tasks import TaskSpec, resolve_modes

    return tuple(resolve_modes([TaskSpec.parse(name) for name in dict.fromkeys(names)]))


def _cards(names: Sequence[str]) -> list[EvaluatorCard]:
    from evaluators.cards import inspect_evaluators
    from evaluators.registry import installed

    return inspect_evaluators(names or [entry.name for entry in installed()])


async def _run(
    wanted: Wanted, cards: Sequence[EvaluatorCard], folder: Path, *, quiet: bool
) -> Survey:
    from evaluators.cli.progress import ProgressBars
    from evaluators.survey import plan_legs, run_survey

    legs = plan_legs(wanted, cards, offered=_offered(wanted.model))
    with ProgressBars(quiet=quiet, controls=wanted.controls) as bars:
        return await run_survey(
            wanted, legs, cards, folder=folder, watcher=bars, kept=_keeper(folder)
        )


def _offered(spec: ModelSpec) -> frozenset[str] | None:
    from evaluators.runtimes import preflight
    from evaluators.runtimes.kinds import runtime_kind

    offered = runtime_kind(spec.runtime).offers(spec)
    if offered is not None and preflight(spec).has_chat_template is False:
        return offered - {"chat"}
    return offered


def _keeper(folder: Path) -> Any:
    from evaluators.cli.output import write_report

    def keep(leg: Leg, report: Report, started: datetime) -> None:
        out = folder / "runs" / leg.name.replace(":", ".")
        for _ in write_report(out, leg.plan, report, started=started):
            pass

    return keep


def _write(folder: Path, found: Survey) -> list[Path]:
    from evaluators.formats.lines import write_lines
    from evaluators.survey import as_csv, as_json, as_markdown

    texts = {"table.md": as_markdown, "table.csv": as_csv, "table.json": as_json}
    return [
        write_lines(folder / name, render(found).splitlines()) for name, render in texts.items()
    ]


def _print(found: Survey, *, as_json: bool) -> None:
    from evaluators.survey import as_json as to_json
    from evaluators.survey import as_markdown

    print(to_json(found) if as_json else as_markdown(found))
