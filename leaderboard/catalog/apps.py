"""App configuration of `catalog`: what can be evaluated."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """What can be evaluated."""

    name = "leaderboard.catalog"
    default_auto_field = "django.db.models.BigAutoField"
