"""Settings of a single machine, reached over loopback; the other modules change what differs."""

from __future__ import annotations

import os
from typing import Any

from csp.constants import NONE, SELF

from leaderboard.settings.env import REPOSITORY, read_environment
from leaderboard.settings.services import database, kept_secret

ENV = read_environment()
BASE_DIR = REPOSITORY
REDRAFT_VAR = ENV.var.expanduser().resolve()

# Identity
DEBUG = False
SECRET_KEY = ENV.secret_key or kept_secret(REDRAFT_VAR / "secret_key")
ALLOWED_HOSTS = ENV.allowed_hosts
CSRF_TRUSTED_ORIGINS = ENV.trusted_origins
ROOT_URLCONF = "leaderboard.urls"
WSGI_APPLICATION = "leaderboard.wsgi.application"
ASGI_APPLICATION = "leaderboard.asgi.application"

INSTALLED_APPS = [
    "leaderboard.core",
    "leaderboard.accounts",
    "leaderboard.catalog",
    "leaderboard.runs",
    "leaderboard.boards",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "template_partials",
    "csp",
]

MIDDLEWARE = [
    "leaderboard.core.middleware.TraceMiddleware",
    "leaderboard.core.middleware.DatabaseAwayMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Data
DATABASES = {"default": database(ENV.database_url, var=REDRAFT_VAR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

# People
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Reports of crashes never show users' secrets
DEFAULT_EXCEPTION_REPORTER = "leaderboard.core.reports.Reporter"

# Browser
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500
DATA_UPLOAD_MAX_NUMBER_FILES = 1
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# Static files: served by the web process itself, hashed and compressed by collectstatic
STATIC_URL = "/static/"
STATIC_ROOT = REDRAFT_VAR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Hints between web and workers; nothing depends on their arrival, the rows of the runs table do
CELERY_BROKER_URL = ENV.broker_url or "filesystem://"
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 0
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_POOL_ACQUIRE_TIMEOUT = 5
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any]
if CELERY_BROKER_URL.startswith("filesystem://"):
    _folder = REDRAFT_VAR / "broker"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_folder / "messages"),
        "data_folder_out": str(_folder / "messages"),
        "control_folder": str(_folder / "control"),
        "store_processed": False,
    }
elif CELERY_BROKER_URL.startswith(("redis", "valkey")):
    CELERY_WORKER_DISABLE_PREFETCH = True
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 25,
        "visibility_timeout": 3600,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {}

# How runs are worked on
REDRAFT_POSTGRES_USER = ENV.postgres_user
REDRAFT_LEASE_SECONDS: float
REDRAFT_HEARTBEAT_SECONDS: float
globals().update(ENV.as_settings())  # these two and every other number of `settings.work`
REDRAFT_WORKER_HARDWARE = ENV.worker_hardware
REDRAFT_WORKER_GPUS = ENV.worker_gpus
REDRAFT_WORKER_SLOTS = ENV.worker_slots
REDRAFT_REQUIRE_SANDBOX = ENV.require_sandbox
REDRAFT_SUBMISSIONS_PER_DAY = ENV.submissions_per_day
REDRAFT_PROMPT_PACKS = ENV.prompt_packs and ENV.prompt_packs.expanduser().resolve()
REDRAFT_FIELD_KEYS = ENV.field_keys
REDRAFT_ENDPOINT_ALLOW = ENV.endpoint_allow
REDRAFT_ENDPOINT_PORTS = ENV.endpoint_ports
if ENV.require_sandbox:
    os.environ["REDRAFT_REQUIRE_SANDBOX"] = "1"  # however it was spelled: the library reads it too

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "trace": {"()": "leaderboard.core.logs.TraceFilter"},
        "redact": {"()": "leaderboard.core.logs.RedactFilter"},
    },
    "formatters": {
        "line": {"format": "{asctime} {levelname:<7} {trace} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["trace", "redact"],
            "formatter": "line",
        },
    },
    "root": {"handlers": ["stderr"], "level": ENV.log_level},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
    },
}
