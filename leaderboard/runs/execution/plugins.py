"""Which evaluator versions this worker can run: installed in that version, with that very code."""

from __future__ import annotations

import logging

from evaluators.errors import InputError
from evaluators.registry import describe_evaluator
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.runs.models import Run
from leaderboard.runs.models.work import TERMINAL

log = logging.getLogger(__name__)


class Plugins:
    """Remembers its verdicts: what is installed does not change under a running process."""

    def __init__(self) -> None:
        self._verdicts: dict[int, bool] = {}

    def able(self) -> list[int]:
        """Return the keys of the versions that unfinished runs ask for and that are here."""
        asked_for = Run.objects.exclude(state__in=TERMINAL).values("evaluator")
        wanted = EvaluatorVersion.objects.filter(pk__in=asked_for)
        return [row.pk for row in wanted if self._has(row)]

    def _has(self, row: EvaluatorVersion) -> bool:
        if row.pk not in self._verdicts:
            self._verdicts[row.pk] = _is_here(row)
        return self._verdicts[row.pk]


def _is_here(row: EvaluatorVersion) -> bool:
    """Import the evaluator and compare it with the recorded version."""
    try:
        card = describe_evaluator(row.name)
    except InputError as error:
        log.warning("leaving runs of %s to other workers: %s", row, error)
        return False
    here = (card.distribution, card.version, card.digest)
    if here != (row.distribution, row.version, row.digest):
        log.warning("leaving runs of %s to other workers: here is %s %s", row, *here[:2])
        return False
    return True
