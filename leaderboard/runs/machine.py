"""A whole machine: a worker process for every slot with GPUs, and one for all that need none."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from leaderboard.core.supervisor import Service, StopRequested, Supervisor, stop_on_signals
from leaderboard.runs.hardware import Slot
from leaderboard.runs.tuning import tuning

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


def run_machine(groups: Sequence[Sequence[Slot]], *, celery: bool) -> int:
    """Run a worker process per group until told to stop; start again those that die.

    Args:
        groups: Slots that share a process.
        celery: Have them listen to the broker.
    """
    supervisor = Supervisor(folder=None, report=log.info, together=True)
    try:
        with stop_on_signals():
            for number, slots in enumerate(groups, 1):
                supervisor.start(_service(f"slot-{number}", slots, celery=celery))
            while True:
                supervisor.tick()
                time.sleep(LOOK_SECONDS)
    except StopRequested:
        log.info("draining")
    finally:
        supervisor.stop()
    return 0


def _service(name: str, slots: Sequence[Slot], *, celery: bool) -> Service:
    classes = dict.fromkeys(kind for slot in slots for kind in slot.classes)
    gpus = [gpu for slot in slots for gpu in slot.gpus]
    argv = [
        *(sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "worker"),
        f"--hardware={','.join(classes)}",
        # what needs no GPU must not find one
        f"--gpus={','.join(gpus)}",
        *([f"--slots={len(slots)}"] if gpus else []),
        *([] if celery else ["--no-celery"]),
    ]
    return Service(name, argv, patience=tuning().drain_seconds + 15)
