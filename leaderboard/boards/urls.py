"""URLs of boards and models."""

from django.urls import path

from leaderboard.boards import compare_views, views

urlpatterns = [
    path("", views.board, name="board"),
    path("oracle/", views.oracle_board, name="oracle_board"),
    path("models/<slug:public_id>/", views.model, name="model"),
    path("compare/", compare_views.compare, name="compare"),
    path("about/", views.about, name="about"),
]
