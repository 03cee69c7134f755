"""Boards in the admin site."""

from __future__ import annotations

from django.contrib import admin

from leaderboard.boards.models import Against, Entry, EventCursor, TaskEntry
from leaderboard.core.admin_readonly import ReadOnlyAdmin


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Rows of the boards."""

    list_display = (
        "model",
        "evaluator",
        "suite",
        "oracle",
        "acc_first",
        "acc_last",
        "n",
        "n_total",
        "refreshed_at",
    )
    list_filter = ("suite", "oracle")
    list_select_related = ("model", "evaluator", "suite")
    search_fields = ("model__label", "evaluator__name")


@admin.register(TaskEntry)
class TaskEntryAdmin(ReadOnlyAdmin):
    """Decompositions by task."""

    list_display = ("entry", "task", "n", "n_total")
    list_select_related = ("entry__model", "entry__evaluator")
    list_filter = ("task",)


@admin.register(Against)
class AgainstAdmin(ReadOnlyAdmin):
    """Rows held against their controls."""

    list_display = ("entry", "kind", "control", "gain", "n")
    list_select_related = (
        "entry__model",
        "entry__evaluator",
        "control__model",
        "control__evaluator",
    )
    list_filter = ("kind",)


@admin.register(EventCursor)
class EventCursorAdmin(ReadOnlyAdmin):
    """How far the boards have read."""

    list_display = ("name", "last_event")
