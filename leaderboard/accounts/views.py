"""Signing in and out."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.views.decorators.http import require_http_methods

login = require_http_methods(["GET", "HEAD", "POST"])(
    auth.LoginView.as_view(template_name="accounts/login.html", redirect_authenticated_user=True)
)
logout = auth.LogoutView.as_view()
