"""Settings of the test runs: cheap passwords, plain static files, hints in memory, short waits."""

import os

from leaderboard.settings.env import REPOSITORY

# before base reads them: tests write beside nobody's data and sign with nobody's key
os.environ.setdefault("REDRAFT_VAR", str(REPOSITORY / "var" / "test"))
os.environ.setdefault("REDRAFT_SECRET_KEY", "only-for-tests")

from leaderboard.settings.base import *  # noqa: F403 - settings modules build on one another

ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {}
REDRAFT_POLL_SECONDS = 0.1
