"""Signing in and out."""

from __future__ import annotations

from django.contrib.auth import views as auth

login = auth.LoginView.as_view(
    template_name="accounts/login.html", redirect_authenticated_user=True
)
logout = auth.LogoutView.as_view()
