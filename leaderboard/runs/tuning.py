"""The numbers of the work that are in force now."""

from __future__ import annotations

from django.conf import settings

from leaderboard.settings.work import Numbers as Tuning
from leaderboard.settings.work import variable


def tuning() -> Tuning:
    """Return the numbers in force: settings named `REDRAFT_<NAME>`, else the defaults."""
    names = {name: variable(name) for name in Tuning.model_fields}
    given = {name: getattr(settings, key) for name, key in names.items() if hasattr(settings, key)}
    return Tuning.model_construct(**given)


__all__ = ["Tuning", "tuning"]
