"""Pages about what can be evaluated with: methods and suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from leaderboard.catalog.access import access_evaluator
from leaderboard.catalog.cards import class_of, controls_of, published_of, turns_of
from leaderboard.catalog.models import EvaluatorVersion, PlannedTask, Suite
from leaderboard.catalog.needs import capabilities, roles, works_on
from leaderboard.catalog.schema import Parameter, parameters
from leaderboard.core.exports import json_response
from leaderboard.core.listing import choice


@require_safe
def methods(request: HttpRequest) -> HttpResponse:
    """List every method that is or was installed, one line each."""
    latest: dict[str, EvaluatorVersion] = {}
    for version in EvaluatorVersion.objects.order_by("name", "-installed", "-id"):
        latest.setdefault(version.name, version)
    rows = list(latest.values())
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        return json_response({"methods": [_brief(row) for row in rows]})
    groups = [(title, [row for row in rows if fits(row)]) for title, fits in GROUPS]
    context = {"groups": [group for group in groups if group[1]], "total": len(rows)}
    return TemplateResponse(request, "catalog/methods.html", context)


GROUPS: tuple[tuple[str, Callable[[EvaluatorVersion], bool]], ...] = (
    ("Methods", lambda row: _usable(row) and row.information != "oracle" and bool(row.controls)),
    ("With the gold answer in view", lambda row: _usable(row) and row.information == "oracle"),
    (
        "Baselines, controls and judges of given solutions",
        lambda row: _usable(row) and row.information != "oracle" and not row.controls,
    ),
    ("Not to be used now", lambda row: not _usable(row)),
)
"""Parts of the list: every row belongs to exactly one."""


def _usable(row: EvaluatorVersion) -> bool:
    return row.installed and not row.problem


def _brief(row: EvaluatorVersion) -> dict[str, object]:
    return {
        "name": row.name,
        "summary": row.summary,
        "source": row.source or None,
        "title": row.card.get("title") or None,
        "information": row.information,
        "requires": row.requires,
        "roles": row.roles,
        "controls": row.controls,
        "calls": row.card.get("calls") or None,
        "distribution": row.distribution,
        "version": row.version,
        "installed": row.installed,
        "problem": row.problem or None,
    }


@require_safe
def method(request: HttpRequest, name: str) -> HttpResponse:
    """Show a method's card: what it does and after whom, what it takes, what it may cost."""
    versions = access_evaluator(request.user, name)
    shown = versions[0]
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        return json_response({**_brief(shown), "card": shown.card, "schema": shown.schema})
    titles, lines = published_of(shown.card)
    rows: list[Parameter] = parameters(shown.schema)
    context = {
        "evaluator": shown,
        "card": shown.card,
        "class": class_of(shown),
        "controls": controls_of(shown),
        "turns": turns_of(shown.card),
        "published_titles": titles,
        "published": lines,
        "versions": versions,
        "parameters": rows,
        "needs": capabilities(shown.requires),
        "works_on": works_on(shown),
        "roles": roles(shown),
    }
    return TemplateResponse(request, "catalog/method.html", context)


@require_safe
def methods_moved(request: HttpRequest) -> HttpResponse:
    """Lead from the former address of the list to the present one."""
    return redirect("methods", permanent=True)


@require_safe
def method_moved(request: HttpRequest, name: str) -> HttpResponse:
    """Lead from the former address of a method to the present one."""
    return redirect("method", name, permanent=True)


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """A task of a suite as the page lists it."""

    plan: PlannedTask
    settings: str
    """What the suite sets besides, in one line."""


@require_safe
def suites(request: HttpRequest) -> HttpResponse:
    """List the current suites with their tasks."""
    rows = [
        (suite, [_task(plan) for plan in suite.planned])
        for suite in Suite.objects.filter(current=True)
    ]
    return TemplateResponse(request, "catalog/suites.html", {"suites": rows})


def _task(plan: PlannedTask) -> SuiteTask:
    shown = {
        key: value
        for key, value in plan.settings.items()
        if key not in {"name", "mode"} and value not in (None, "", [])
    }
    return SuiteTask(plan, ", ".join(f"{key} {value}" for key, value in shown.items()))
