"""`run`: evaluates a model and prints the decomposition with intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.cli.data import data_dir_option
from evaluators.errors import BadParameter

if TYPE_CHECKING:
    from evaluators.model import ModelRole
    from evaluators.runtimes import ModelSpec
    from evaluators.session import Method, Plan, Report
    from evaluators.strategies.packs import PromptPack
    from evaluators.tasks import TaskSpec

ROLES: tuple[ModelRole, ...] = ("critic", "judge")
"""Roles that another model may play."""

CHANGES = (
    "num_fewshot", "metric", "filter", "max_tokens", "temperature", "overlong", "system_prompt",
)  # fmt: skip
"""Options that change how a task is put or graded."""

ENDPOINT = "endpoint"
"""The runtime whose models are somewhere else."""

LM_EVAL = "lm-eval"
"""The runtime of every model name that is not itself a runtime."""


@click.command("run")
@click.argument("evaluators", nargs=-1, required=True, metavar="EVALUATOR...")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    help="A task, or task:mode for multiple choice; may be repeated.",
)
@click.option("--suite", help="A suite, by name or as a TOML file, instead of tasks.")
@click.option("--model", required=True, help="lm-eval's model name (hf, …) or a runtime (echo, …).")
@click.option("--model-args", default="", help="k=v,k=v or JSON, as lm-eval takes them.")
@click.option("--critic", help="Another model for the role of the critic, named like --model.")
@click.option("--critic-args", default="", help="Arguments of the critic's model.")
@click.option("--judge", help="Another model for the role of the judge, named like --model.")
@click.option("--judge-args", default="", help="Arguments of the judge's model.")
@click.option("--limit", type=click.IntRange(min=1), help="Samples per task.")
@click.option("--param", "params", multiple=True, help="k=v, or evaluator.k=v; may be repeated.")
@click.option("--num-fewshot", type=click.IntRange(min=0), help="Few-shot examples per task.")
@click.option("--metric", help="Primary metric, where the task has several.")
@click.option("--filter", help="Primary filter, where the task has several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Token limit of answers.")
@click.option(
    "--overlong",
    type=click.Choice(["unscored", "drop_examples"]),
    help="What becomes of a prompt that does not fit: no score, or fewer few-shot examples.",
)
@click.option("--system-prompt", help="System prompt before every question.")
@click.option(
    "--include-path", "paths", multiple=True, type=click.Path(path_type=Path, exists=True)
)
@data_dir_option
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--in-flight", type=click.IntRange(min=1), help="Samples worked on at once.")
@click.option("--seed", type=int, default=0, show_default=True, help="Root of all seeds.")
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Independent trajectories per sample; needs a temperature above 0 to differ.",
)
@click.option("--temperature", type=click.FloatRange(min=0), help="Of answers.")
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Hold every method against controls at equal compute.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Questions per task to put greedily once more at the end: how noisy the runtime is.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A prompt pack, whose texts stand in for the methods' own.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write files here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(**options: Any) -> None:
    """Evaluate a model with one or more evaluators on tasks or a suite.

    Every method is held against controls at equal compute, which are runs of evaluators themselves:
    one greedy answer, a vote over as many answers as it makes calls or as make up its tokens, the
    best of that many, a second turn that says nothing.
    """
    from evaluators.cli.results import print_json, print_tables

    plan = _plan(options)
    started = datetime.now().astimezone()
    report = asyncio.run(_run(plan, quiet=options["as_json"]))
    if options["out"]:
        from evaluators.cli.output import write_report

        for path in write_report(options["out"], plan, report, started=started):
            click.echo(f"wrote {path}", err=True)
    tell = print_json if options["as_json"] else print_tables
    tell(plan, report)


def _plan(options: dict[str, Any]) -> Plan:
    """Check all that can be checked before anything is started."""
    from evaluators.engine import Limits
    from evaluators.runtimes import preflight
    from evaluators.session import Plan, without_chat

    methods = _methods(options["evaluators"], options["params"])
    spec = _model(options, "model")
    roles = _roles(options, methods)
    tasks, limits = _tasks(options)
    in_flight = options["in_flight"] or max(32, 4 * options["batch_size"], spec.batch_size)
    plan = Plan(
        spec,
        methods,
        tuple(tasks),
        limits,
        seed=options["seed"],
        limits=Limits(in_flight=in_flight),
        include_paths=options["paths"],
        roles=roles,
        replicates=options["replicates"],
        controls=options["controls"],
        repeat=options["repeat"],
        pack=_pack(options["prompts"], methods),
    )
    for other in roles.values():
        preflight(other)
    return without_chat(plan) if preflight(spec).has_chat_template is False else plan


def _pack(folder: Path | None, methods: Sequence[Method]) -> PromptPack | None:
    """Read the pack; one that stands in for no prompt of the methods is a mistake."""
    if folder is None:
        return None
    from evaluators.cards import installed_prompts, pack_for
    from evaluators.strategies.packs import read_pack

    pack = pack_for(read_pack(folder, installed_prompts()), [m.evaluator for m in methods])
    if not pack.prompts:
        reason = f"it stands in for no prompt of {', '.join(method.name for method in methods)}"
        raise BadParameter(owner="run", name="--prompts", value=str(folder), reason=reason)
    return pack


def _model(options: dict[str, Any], option: str) -> ModelSpec:
    from evaluators.runtimes import ModelSpec, parse_model_args, runtime_names

    name = options[option]
    runtime = name if name in runtime_names() else LM_EVAL
    args = parse_model_args(options[f"{option}_args"])
    # An endpoint has no batch, only calls in flight.
    size = args.get("num_concurrent") if runtime == ENDPOINT else None
    return ModelSpec(runtime, name, args, size if isinstance(size, int) else options["batch_size"])


def _roles(options: dict[str, Any], methods: Sequence[Method]) -> dict[ModelRole, ModelSpec]:
    """Return the models of other roles; a role that no method has is a mistake."""
    wanted: list[ModelRole] = [role for role in ROLES if options[role]]
    for role in wanted:
        if not any(role in method.evaluator.roles for method in methods):
            reason = f"none of {', '.join(method.name for method in methods)} has a {role}"
            raise BadParameter(owner="run", name=f"--{role}", value=options[role], reason=reason)
    return {role: _model(options, role) for role in wanted}


def _methods(names: Sequence[str], params: Sequence[str]) -> tuple[Method, ...]:
    from evaluators.registry import load_evaluator
    from evaluators.session import Method

    evaluators = {name: load_evaluator(name) for name in names}
    given: dict[str, dict[str, str]] = {name: {} for name in evaluators}
    for text in params:
        key, equals, value = text.partition("=")
        owner, dot, parameter = key.rpartition(".")
        if not equals or not parameter or (dot and owner not in given):
            reason = "parameters are k=v or evaluator.k=v of an evaluator that runs"
            raise BadParameter(owner="--param", name=key, value=text, reason=reason)
        takers = [owner] if dot else _takers(evaluators, parameter)
        for taker in takers:
            given[taker][parameter] = value
    return tuple(Method(method, method.bind(given[name])) for name, method in evaluators.items())


def _takers(evaluators: dict[str, Any], parameter: str) -> list[str]:
    """Return the evaluators that know a parameter; all of them if none does, to refuse it."""
    known = [name for name, e in evaluators.items() if parameter in e.params.model_fields]
    return known or list(evaluators)


def _tasks(options: dict[str, Any]) -> tuple[list[TaskSpec], dict[str, int | None]]:
    from evaluators.tasks import TaskSpec, load_suite, resolve_modes

    if bool(options["suite"]) == bool(options["tasks"]):
        raise click.UsageError("Name either tasks (--task) or a suite (--suite).")
    limits: dict[str, int | None] = {}
    if options["suite"]:
        suite = load_suite(options["suite"])
        specs = [entry.spec for entry in suite.tasks]
        limits = {entry.spec.key: entry.limit for entry in suite.tasks}
    else:
        named = [TaskSpec.parse(name) for name in dict.fromkeys(options["tasks"])]
        specs = resolve_modes(named, include_paths=options["paths"])
    if options["limit"]:
        limits = {spec.key: options["limit"] for spec in specs}
    changes = {key: options[key] for key in CHANGES if options[key] is not None}
    return [replace(spec, **changes) for spec in specs], limits


async def _run(plan: Plan, *, quiet: bool) -> Report:
    from evaluators.cli.progress import ProgressBars
    from evaluators.session import run_plan

    bars = ProgressBars(quiet=quiet, replicates=plan.replicates, controls=plan.controls)
    with bars:
        return await run_plan(plan, bars)
