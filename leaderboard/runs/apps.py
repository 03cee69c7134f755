"""App configuration of `runs`: submissions, runs, shards, attempts and results."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Submissions, runs, shards, attempts and results."""

    name = "leaderboard.runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to the sweeper."""
        from leaderboard.runs import receivers  # noqa: F401 - importing it connects it
