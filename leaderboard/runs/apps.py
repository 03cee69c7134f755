"""App configuration of `runs`: submissions, runs, shards, attempts and results."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Submissions, runs, shards, attempts and results."""

    name = "leaderboard.runs"
    default_auto_field = "django.db.models.BigAutoField"
