"""Submit a model from the command line, and wait for the result if asked to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from evaluators.cards import pack_for
from evaluators.errors import BadFile, BadParameter, InputError, NotInstalled
from evaluators.registry import load_evaluator
from evaluators.runtimes import bundled_models, parse_model_args
from evaluators.tasks import load_suite
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, PackVersion, Suite
from leaderboard.catalog.packs import chosen_pack, sync_packs
from leaderboard.catalog.services import (
    record_suite,
    register_endpoint,
    register_model,
    sync_plugins,
    sync_suites,
)
from leaderboard.core.messages import message_for
from leaderboard.runs import services
from leaderboard.runs.models import Run
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.progress import tallied
from leaderboard.runs.tasks import hint, wait_for_hints

LOOK_SECONDS = 1.0
ROLES = ("model", "critic", "judge")
"""Models that may be named, each with arguments of its own."""


class Command(BaseCommand):
    """Submits one model under one or more evaluators."""

    help = "Submit MODEL under EVALUATORs on a suite; the same again returns the runs that exist."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to evaluate, how, and for whom."""
        parser.add_argument(
            "model",
            help="bundled/NAME, an absolute path, a Hub repository, an endpoint's URL, or `echo`",
        )
        parser.add_argument("evaluators", nargs="+", metavar="EVALUATOR")
        parser.add_argument("--suite", default="demo", help="name or .toml file (default: demo)")
        parser.add_argument(
            "--param",
            action="append",
            default=[],
            metavar="[EVALUATOR.]NAME=VALUE",
            help="parameter of one evaluator, or of all that are named",
        )
        parser.add_argument(
            "--prompts",
            default="",
            metavar="PACK",
            help="a prompt pack of this server, by name, for those of the evaluators that it fits",
        )
        parser.add_argument("--runtime", default="", help="lm-eval, or echo for the model `echo`")
        parser.add_argument("--model-class", default="", help="lm-eval's name (default: hf)")
        parser.add_argument("--revision", default="", help="branch, tag or commit on the Hub")
        parser.add_argument("--batch-size", type=int, default=8)
        for role in ROLES:
            _add_role(parser, role)
        parser.add_argument("--limit", type=int, help="samples per task")
        parser.add_argument("--replicates", type=int, default=1, help="trajectories per question")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--user", default="", help="who submits (default: the first admin)")
        parser.add_argument("--wait", action="store_true", help="wait for the end, with progress")
        parser.add_argument(
            "--no-controls",
            action="store_false",
            dest="controls",
            help="do not hold the results against runs of equal compute; these come after the "
            "named runs, behind everybody's submissions, and --wait does not wait for them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Submit; a bad wish is one line and exit status 1."""
        try:
            found = _submit(_user(options["user"]), options)
        except InputError as error:
            raise CommandError(str(error)) from error
        hint(found.created)
        for run in found.runs:
            note = " (exists)" if run.pk in found.existing else ""
            self.stdout.write(f"{run.public_id} {run.evaluator.name}{note}")
        wait_for_hints()
        if options["wait"]:
            self._wait([run.pk for run in found.runs])

    def _wait(self, keys: list[int]) -> None:
        shown = dict[int, str]()
        while True:
            runs = list(Run.objects.filter(pk__in=keys).select_related("evaluator"))
            for run in runs:
                line = _line(run)
                if shown.get(run.pk) != line:
                    shown[run.pk] = line
                    self.stdout.write(line)
            if all(run.state in TERMINAL for run in runs):
                break
            time.sleep(LOOK_SECONDS)
        bad = [run for run in runs if run.failure_id]
        if bad:
            raise CommandError("; ".join(_why(run) for run in bad))


def _add_role(parser: CommandParser, role: str) -> None:
    if role != "model":
        parser.add_argument(f"--{role}", default="", help=f"another model to play the {role}")
    parser.add_argument(f"--{role}-args", default="", metavar="K=V,…", help="for its runtime")
    parser.add_argument(f"--{role}-name", default="", help="as its endpoint knows it")
    parser.add_argument(
        f"--{role}-key-file",
        metavar="FILE",
        help="holds the key of its endpoint; a key on a command line can be read by others",
    )


def _submit(user: User, options: dict[str, Any]) -> services.Submitted:
    evaluators = _evaluators(options["evaluators"], options["param"])
    with transaction.atomic():
        others = {
            role: _model(user, options[role], options, role=role)
            for role in ROLES[1:]
            if options[role]
        }
        return services.submit(
            user=user,
            model=_model(user, options["model"], options, role="model"),
            suite=_suite(options["suite"]),
            evaluators=evaluators,
            limit=options["limit"],
            seed=options["seed"],
            critic=others.get("critic"),
            judge=others.get("judge"),
            replicates=options["replicates"],
            controls=options["controls"],
            packs=_packs(options["prompts"], options["evaluators"]),
        )


def _line(run: Run) -> str:
    progress = tallied(run, list(run.shards.all()))
    total = "?" if progress.total is None else progress.total
    return f"{run.public_id} {run.evaluator.name}: {run.state} {progress.done}/{total}"


def _why(run: Run) -> str:
    return f"{run.public_id}: {message_for(run.failure_id).title}. {run.failure_detail}".strip()


def _user(name: str) -> User:
    if name:
        found = User.objects.filter(username=name).first()
    else:
        found = User.objects.filter(is_superuser=True).order_by("pk").first()
        if found is None and not User.objects.exists():
            found = User.objects.create_user("local")
    if found is None:
        raise CommandError(f"There is no user {name!r}." if name else "Name a --user.")
    return found


def _model(user: User, name: str, options: dict[str, Any], *, role: str) -> LanguageModel:
    args = parse_model_args(options[f"{role}_args"])
    if name.startswith(("https://", "http://")):
        return register_endpoint(
            user=user,
            url=name,
            name=options[f"{role}_name"],
            secret=_secret(options[f"{role}_key_file"]),
            concurrency=options["batch_size"],
            args=args,
        )
    own = options if role == "model" else dict.fromkeys(("runtime", "model_class", "revision"), "")
    echo = name == "echo" or own["runtime"] == "echo"
    if echo or name in bundled_models() or name.startswith("bundled/"):
        source = LanguageModel.Source.BUNDLED
    else:
        source = LanguageModel.Source.LOCAL if name.startswith("/") else LanguageModel.Source.HUB
    return register_model(
        source=source,
        location="" if echo else name,
        revision=own["revision"],
        runtime=own["runtime"] or ("echo" if echo else "lm-eval"),
        model_class=own["model_class"] or ("echo" if echo else "hf"),
        args=args,
        batch_size=options["batch_size"],
    )


def _secret(path: str | None) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The key file {path} cannot be read: {error}") from error


def _suite(name: str) -> Suite:
    if name.endswith(".toml"):
        try:
            return record_suite(load_suite(name))
        except BadFile as error:
            raise CommandError(str(error)) from error
    if not Suite.objects.filter(current=True).exists():
        sync_suites()
    known = Suite.objects.filter(current=True)
    found = known.filter(name=name).first()
    if found is None:
        raise NotInstalled.among("suite", name, known.values_list("name", flat=True))
    return found


def _packs(name: str, evaluators: list[str]) -> dict[str, str]:
    """Return the pack by the evaluators that it fits; one that fits none is a mistake."""
    if not name:
        return {}
    if not PackVersion.objects.filter(installed=True).exists():
        sync_packs()
    pack = chosen_pack(name)[1]
    fitting = [one for one in evaluators if pack_for(pack, [load_evaluator(one)]).prompts]
    if not fitting:
        reason = f"it stands in for no prompt of {', '.join(evaluators)}"
        raise BadParameter(owner="submission", name="--prompts", value=name, reason=reason)
    return dict.fromkeys(fitting, name)


def _evaluators(names: list[str], params: list[str]) -> list[tuple[str, dict[str, object]]]:
    if not EvaluatorVersion.objects.filter(installed=True).exists():
        sync_plugins()
    given = {name: dict[str, object]() for name in names}
    for text in params:
        key, equals, value = text.partition("=")
        owner, dot, own = key.rpartition(".")
        if not equals or (dot and owner not in given):
            raise BadParameter(
                owner="--param", name=key, value=value, reason="must be [EVALUATOR.]NAME=VALUE"
            )
        for name in [owner] if dot else names:
            given[name][own] = value
    return list(given.items())
