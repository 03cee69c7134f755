"""Settings for working on Redraft itself: error pages with their insides, templates read anew."""

from leaderboard.settings.base import *  # noqa: F403 - settings modules build on one another

DEBUG = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
