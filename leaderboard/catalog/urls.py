"""URLs of the catalogue."""

from django.urls import path

from leaderboard.catalog import views

urlpatterns = [
    path("methods/", views.methods, name="methods"),
    path("methods/<path:name>/", views.method, name="method"),
    path("evaluators/", views.methods_moved, name="methods_moved"),
    path("evaluators/<path:name>/", views.method_moved, name="method_moved"),
    path("suites/", views.suites, name="suites"),
]
