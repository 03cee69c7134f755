"""App configuration of `accounts`: who may do what."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who may do what."""

    name = "leaderboard.accounts"
    default_auto_field = "django.db.models.BigAutoField"
