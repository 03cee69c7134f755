"""Read results that were made elsewhere into the database: ours, lm-eval's, Inspect's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evaluators.errors import InputError
from evaluators.formats.reading import read_runs
from leaderboard.accounts.models import User
from leaderboard.runs import services


class Command(BaseCommand):
    """Imports results from files."""

    help = (
        "Import what `python -m evaluators run --out` wrote, or results of lm-eval, Inspect or "
        "Every Eval Ever. Imported runs are marked; importing twice changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to read and whose it is to be."""
        parser.add_argument("path", type=Path, help="folder, results file or log")
        parser.add_argument("--user", default="", help="whose runs (default: the first admin)")
        parser.add_argument("--inspect-python", help="a Python that has inspect-ai, for .eval logs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import every run; a bad file is one line and exit status 1."""
        user = _user(options["user"])
        try:
            stored = read_runs(options["path"], inspect_python=options["inspect_python"])
            found = [services.import_run(run, user=user) for run in stored]
        except InputError as error:
            raise CommandError(str(error)) from error
        services.sweep()
        for one in found:
            run = one.run
            note = f"imported from {run.imported}" if one.made else "exists"
            if run.failure_id:
                note = f"{note}; {run.failure_id} {run.failure_detail}"
            name = f"{run.evaluator.name} of {run.model.label} on {run.suite.name}"
            self.stdout.write(f"{run.public_id} {name}: {run.state} ({note})")


def _user(name: str) -> User:
    known = User.objects.filter(username=name) if name else User.objects.filter(is_superuser=True)
    found = known.order_by("pk").first()
    if found is None:
        raise CommandError(f"There is no user {name!r}." if name else "Name a --user.")
    return found
