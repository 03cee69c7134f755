"""What results are held against: other runs of the same model on the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db import models

from evaluators.controls import TITLES
from leaderboard.runs.models.work import Run

CONTROL_TITLES: Mapping[str, str] = {str(kind): title for kind, title in TITLES.items()}
"""What each control is called where a person reads it, by its kind."""


class RunControl(models.Model):
    """What a completed run is held against: another run of the same model on the same samples."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="controls")
    kind = models.CharField(max_length=24)
    """One of `evaluators.evaluator.CONTROLS`, or `retry`."""
    control = models.ForeignKey(
        Run, models.SET_NULL, null=True, blank=True, related_name="controlled"
    )
    """The run; null where there is none."""
    reason = models.TextField(blank=True)
    """Why there is none; empty for one that was deleted."""
    note = models.TextField(blank=True)
    """How the control was chosen, such as the number of samples that make its cost equal."""

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "kind"], name="run_control_once")
        ]

    def __str__(self) -> str:
        return f"{self.run_id} against {self.kind}"

    @property
    def title(self) -> str:
        """What the control is called where a person reads it."""
        return str(CONTROL_TITLES.get(self.kind, self.kind))
