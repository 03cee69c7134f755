"""Where every page lives; each app names its own."""

from django.urls import URLPattern, URLResolver, path

from leaderboard.core.health import healthz

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
]
