"""App configuration of `boards`: boards, entries and model pages."""

from django.apps import AppConfig


class BoardsConfig(AppConfig):
    """Boards, entries and model pages."""

    name = "leaderboard.boards"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to runs."""
        from leaderboard.boards import receivers  # noqa: F401 - importing it connects it
