"""The catalogue in the admin site."""

from __future__ import annotations

from django.contrib import admin

from leaderboard.catalog.models import (
    EndpointKey,
    EvaluatorVersion,
    LanguageModel,
    PackVersion,
    Suite,
)
from leaderboard.core.admin_readonly import ReadOnlyAdmin


@admin.register(EndpointKey)
class EndpointKeyAdmin(ReadOnlyAdmin):
    """Keys of endpoints: that they are there and when they were used, never what they are."""

    list_display = ("public_id", "user", "origin", "last_four", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("public_id", "user__username", "origin")
    exclude = ("token",)


@admin.register(LanguageModel)
class LanguageModelAdmin(ReadOnlyAdmin):
    """Models that were submitted."""

    list_display = (
        "label",
        "source",
        "location",
        "revision",
        "runtime",
        "model_class",
        "created_at",
    )
    list_filter = ("source", "runtime")
    search_fields = ("label", "location", "public_id")


@admin.register(Suite)
class SuiteAdmin(ReadOnlyAdmin):
    """Suites as they were installed."""

    list_display = ("name", "version", "current", "digest", "created_at")
    list_filter = ("current",)
    search_fields = ("name",)


@admin.register(EvaluatorVersion)
class EvaluatorVersionAdmin(ReadOnlyAdmin):
    """Evaluators as they were installed."""

    list_display = (
        "name",
        "version",
        "distribution",
        "information",
        "installed",
        "problem",
        "last_seen",
    )
    list_filter = ("installed", "information", "distribution")
    search_fields = ("name", "distribution")


@admin.register(PackVersion)
class PackVersionAdmin(ReadOnlyAdmin):
    """Prompt packs as their folder held them; those that are refused, with the reason."""

    list_display = (
        "name",
        "version",
        "short",
        "folder",
        "info_parity",
        "installed",
        "problem",
        "last_seen",
    )
    list_filter = ("installed", "info_parity")
    search_fields = ("name", "digest", "folder")
