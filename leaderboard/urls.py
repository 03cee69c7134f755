"""Where every page lives; each app names its own."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from leaderboard.core.health import healthz

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("leaderboard.boards.urls")),
    path("", include("leaderboard.runs.urls")),
    path("", include("leaderboard.catalog.urls")),
    path("", include("leaderboard.accounts.urls")),
    path("administration/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]

handler400 = "leaderboard.core.views.bad_request"
handler403 = "leaderboard.core.views.permission_denied"
handler404 = "leaderboard.core.views.not_found"
handler500 = "leaderboard.core.middleware.server_error"
