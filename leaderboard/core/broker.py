"""Says whether the broker, which carries hints only, can be reached."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError


def reach_broker(*, seconds: int = 3) -> str:
    """Return why the broker cannot be reached, or nothing when it can."""
    url = settings.CELERY_BROKER_URL
    if url.startswith("filesystem://"):
        return _folder_problem(Path(settings.REDRAFT_VAR) / "broker")
    try:
        with Connection(url, connect_timeout=seconds) as broker:
            broker.ensure_connection(max_retries=0, timeout=seconds)
    except (OperationalError, OSError) as error:
        return str(error)
    except (ImportError, AttributeError, KeyError) as error:  # kombu says so in three ways
        return f"the driver of this broker is not installed ({error})"
    return ""


def _folder_problem(folder: Path) -> str:
    """Say why the folder of the file broker, made on first use, cannot be written."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return "" if os.access(place, os.W_OK) else f"{place} cannot be written"
