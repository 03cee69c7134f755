"""Settings of the test runs: cheap passwords, plain static files, messages in memory, short waits."""

from leaderboard.settings.base import *  # noqa: F403 - settings modules build on one another

SECRET_KEY = "only-for-tests"  # noqa: S105 - signs nothing outside a test
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {}
REDRAFT_POLL_SECONDS = 0.1
