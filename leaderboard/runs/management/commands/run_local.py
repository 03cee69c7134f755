"""Work on queued runs in this process, without a broker, and end: for looking into a fault."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from leaderboard.runs.management.commands.worker import ALL, AUTO, plan_slots
from leaderboard.runs.models import Run, State
from leaderboard.runs.worker import WorkerOptions, run_worker


class Command(BaseCommand):
    """Runs what is queued, in the foreground."""

    help = "Work on everything that is queued, here and now; name a run to have it done first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add which run."""
        parser.add_argument("run", nargs="?", help="public id of the run to begin with")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until nothing is left, and say what became of the run."""
        run = None
        if options["run"]:
            run = Run.objects.filter(public_id=options["run"]).first()
            if run is None:
                raise CommandError(f"There is no run {options['run']!r}.")
            run.shards.filter(state__in=[State.QUEUED, State.RETRY_WAIT]).update(priority=100)
        groups = plan_slots(AUTO, ALL, 0)
        slots = tuple(slot for group in groups for slot in group)
        run_worker(WorkerOptions(slots, celery=False, until_idle=True))
        if run is not None:
            run.refresh_from_db()
            self.stdout.write(f"{run.public_id} {run.state} {run.failure_id} {run.failure_detail}")
