"""URLs of accounts."""

from django.urls import path

from leaderboard.accounts import views

urlpatterns = [
    path("accounts/login/", views.login, name="login"),
    path("accounts/logout/", views.logout, name="logout"),
]
