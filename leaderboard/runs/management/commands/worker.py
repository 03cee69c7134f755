"""Work on runs: look for them every second or two, and listen to the broker besides."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from evaluators.errors import InputError
from leaderboard.runs.devices import visible_gpus
from leaderboard.runs.hardware import CPU, ENDPOINT, GPU, Slot, is_gpu, parse_classes, share_out
from leaderboard.runs.machine import run_machine
from leaderboard.runs.tuning import tuning
from leaderboard.runs.worker import WorkerOptions, run_worker

AUTO = "auto"
ALL = "all"


class Command(BaseCommand):
    """Starts a worker that runs until SIGTERM or Ctrl-C."""

    help = (
        "Claim runs and work on them until SIGTERM; works with or without a broker. "
        "GPUs are shared out between slots, each a process with one runtime at a time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what the worker serves and how long."""
        parser.add_argument(
            "--hardware",
            "--class",
            default=settings.REDRAFT_WORKER_HARDWARE,
            metavar="CLASS[,CLASS]",
            help="what it serves: cpu, endpoint, gpu, gpu-KIND such as gpu-h200; auto is cpu, "
            "endpoint, and gpu where there are GPUs (default: %(default)s)",
        )
        parser.add_argument(
            "--gpus",
            default=settings.REDRAFT_WORKER_GPUS,
            metavar="0,1,…",
            help="GPUs to share out, as CUDA_VISIBLE_DEVICES names them (default: %(default)s)",
        )
        parser.add_argument(
            "--slots",
            type=int,
            default=settings.REDRAFT_WORKER_SLOTS,
            help="how many slots share the GPUs, or run models on the CPU where no GPUs are "
            "served (default: one for each GPU, or one)",
        )
        parser.add_argument("--no-celery", action="store_true", help="do not listen to the broker")
        parser.add_argument(
            "--until-idle", action="store_true", help="end when there is nothing left to do"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work."""
        celery, until_idle = not options["no_celery"], options["until_idle"]
        try:
            groups = plan_slots(options["hardware"], options["gpus"], options["slots"])
            if len(groups) > 1 and not until_idle:
                sys.exit(run_machine(groups, celery=celery))
            slots = tuple(slot for group in groups for slot in group)
            sys.exit(run_worker(WorkerOptions(slots, celery=celery, until_idle=until_idle)))
        except InputError as error:
            raise CommandError(str(error)) from error


def plan_slots(hardware: str, gpus: str, slots: int) -> list[list[Slot]]:
    """Cut this machine into slots, in groups that share a process.

    Args:
        hardware: Classes to serve, separated by commas, or `auto`.
        gpus: Devices, separated by commas, or `all`; none hides all of them from runtimes.
        slots: 0 takes the default.

    Raises:
        BadParameter: It cannot be cut in this way.
    """
    automatic = hardware == AUTO
    classes = (CPU, ENDPOINT) if automatic else parse_classes(hardware)
    named = tuple(filter(None, (part.strip() for part in gpus.split(","))))
    if gpus == ALL:
        named = visible_gpus() if automatic or any(map(is_gpu, classes)) else ()
    elif not named:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if automatic and named:
        classes = (GPU, *classes)
    endpoints = tuning().endpoint_slots
    return share_out(classes, named, slots=slots or None, endpoints=endpoints)
