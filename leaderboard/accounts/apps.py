"""App configuration of `accounts`: who may do what."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who may do what."""

    name = "leaderboard.accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have the settings checked."""
        from leaderboard.accounts import checks  # noqa: F401 - importing it registers it
