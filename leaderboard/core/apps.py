"""App configuration of `core`: the page shell, messages, checks and embedded services."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The page shell, messages, checks and embedded services."""

    name = "leaderboard.core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from leaderboard.core import checks  # noqa: F401 - importing registers them
