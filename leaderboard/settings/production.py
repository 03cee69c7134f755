"""Settings for a host that others reach, behind a proxy that ends TLS."""

from django.core.exceptions import ImproperlyConfigured

from leaderboard.settings.base import *  # noqa: F403 - settings modules build on one another
from leaderboard.settings.base import ENV

for _name, _value in (
    ("REDRAFT_SECRET_KEY", ENV.secret_key),
    ("DATABASE_URL", ENV.database_url),
    ("CELERY_BROKER_URL", ENV.broker_url),
):
    if not _value:
        raise ImproperlyConfigured(f"{_name} must be set in production; see deploy/env.example")
if "allowed_hosts" not in ENV.model_fields_set:
    raise ImproperlyConfigured("REDRAFT_ALLOWED_HOSTS must be set in production")

SECRET_KEY = ENV.secret_key
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-session"
CSRF_COOKIE_NAME = "__Host-csrf"
if ENV.behind_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
