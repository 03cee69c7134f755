"""A user's own keys of endpoints: what is stored, and how to have it forgotten."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST, require_safe

from leaderboard.accounts.models import User
from leaderboard.catalog.access import access_key
from leaderboard.catalog.keys import delete_key
from leaderboard.runs.services.keys import KEPT, keys_of


@login_required
@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """List the keys that the user has stored, without showing any."""
    rows = keys_of(cast(User, request.user))
    return TemplateResponse(request, "runs/keys.html", {"keys": rows, "kept": KEPT.days})


@login_required
@require_POST
def forget(request: HttpRequest, public_id: str) -> HttpResponseRedirect:
    """Delete one of the user's keys."""
    key = access_key(request.user, public_id)
    delete_key(key)
    messages.info(request, f"The key for {key.origin} is deleted.")
    return redirect("keys")
