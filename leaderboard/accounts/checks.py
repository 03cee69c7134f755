"""System checks of accounts: whether what users entrust can be encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from leaderboard.accounts.vault import check_keys


@register(Tags.security)
def field_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse keys that encrypt nothing."""
    if not settings.REDRAFT_FIELD_KEYS:
        return []
    try:
        check_keys()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="redraft.E007")]
    return []
