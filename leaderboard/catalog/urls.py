"""URLs of the catalogue."""

from django.urls import path

from leaderboard.catalog import views

urlpatterns = [
    path("evaluators/", views.evaluators, name="evaluators"),
    path("evaluators/<path:name>/", views.evaluator, name="evaluator"),
    path("suites/", views.suites, name="suites"),
]
