"""The Celery app: a channel for hints and chores. Nothing depends on a message arriving."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "leaderboard.settings.base")

CHORES = "chores"
QUEUES = ("cpu", "gpu", "endpoint", CHORES)
"""One per hardware class, never one per model."""

app = Celery("redraft")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name) for name in QUEUES]
app.conf.task_default_queue = CHORES
app.autodiscover_tasks(["leaderboard.runs"])


def make_broker_folders() -> None:
    """Create the folders of the `filesystem://` broker; other brokers have none."""
    if not str(app.conf.broker_url or "").startswith("filesystem://"):
        return
    options = app.conf.broker_transport_options
    for key in ("data_folder_in", "data_folder_out", "control_folder"):
        if folder := options.get(key):
            Path(folder).mkdir(parents=True, exist_ok=True)
