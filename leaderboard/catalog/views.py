"""Pages about what can be evaluated with: evaluators and suites."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from leaderboard.catalog.access import access_evaluator
from leaderboard.catalog.models import EvaluatorVersion, PlannedTask, Suite
from leaderboard.catalog.needs import capabilities, roles, works_on
from leaderboard.catalog.schema import Parameter, parameters


@require_safe
def evaluators(request: HttpRequest) -> HttpResponse:
    """List every evaluator that is or was installed, one line each."""
    latest: dict[str, EvaluatorVersion] = {}
    for version in EvaluatorVersion.objects.order_by("name", "-installed", "-id"):
        latest.setdefault(version.name, version)
    return TemplateResponse(
        request, "catalog/evaluators.html", {"evaluators": list(latest.values())}
    )


@require_safe
def evaluator(request: HttpRequest, name: str) -> HttpResponse:
    """Show what an evaluator does, what it takes, and which versions there were."""
    versions = access_evaluator(request.user, name)
    rows: list[Parameter] = parameters(versions[0].schema)
    shown = versions[0]
    context = {
        "evaluator": shown,
        "versions": versions,
        "parameters": rows,
        "needs": capabilities(shown.requires),
        "works_on": works_on(shown),
        "roles": roles(shown),
    }
    return TemplateResponse(request, "catalog/evaluator.html", context)


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
