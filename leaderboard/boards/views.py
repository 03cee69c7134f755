"""Pages of results: boards, models, what the figures mean."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from evaluators.metrics import cost, decomposition, quality
from leaderboard.boards.columns import FIRST_DESCENDING, PRIMARY, offered
from leaderboard.boards.methods_table import SHOWN
from leaderboard.boards.models_page import model_json, model_page
from leaderboard.boards.queries import (
    INFORMATION,
    ROWS,
    UNFINISHED,
    BoardView,
    board_page,
    read_view,
)
from leaderboard.boards.rows import export_header, export_rows, rows_of
from leaderboard.catalog.access import access_model, may_see_location
from leaderboard.catalog.needs import capabilities
from leaderboard.core.exports import csv_response, json_response
from leaderboard.core.listing import choice, search
from leaderboard.runs.presentation import explain


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """Show the board of methods that never read gold."""
    return _board(request, oracle=False)


@require_safe
def oracle_board(request: HttpRequest) -> HttpResponse:
    """Show the board of methods that do."""
    return _board(request, oracle=True)


def _board(request: HttpRequest, *, oracle: bool) -> HttpResponse:
    view = read_view(request.GET, oracle=oracle)
    form = choice(request.GET, "format", ["html", "csv", "json"], "html")
    page = board_page(view)
    if view.page > page.pages:
        raise BadRequest(f"There are only {page.pages} pages.")
    if form != "html":
        return _export(view, list(export_rows(page)), form)
    context = {
        "view": view,
        "page": page,
        "rows": rows_of(page, view.columns),
        "columns": view.columns,
        "offered": offered(oracle=oracle),
        "primary": PRIMARY,
        "first_descending": FIRST_DESCENDING,
        "tab": next((tab for tab in view.tabs if tab.suite == view.suite), None),
        "unused": [tab for tab in view.tabs if not tab.used and tab.suite != view.suite],
        "informations": INFORMATION,
        "kinds_of_rows": ROWS,
        "unfinished": [
            (run, explain(run.failure_id, run.failure_detail)) for run in page.unfinished
        ],
        "unfinished_more": max(0, page.unfinished_total - UNFINISHED),
        "width": len(view.columns),
    }
    return TemplateResponse(request, "boards/board.html", context)


def _export(
    view: BoardView, rows: list[dict[str, str | int | float | bool | None]], form: str
) -> HttpResponse:
    name = f"redraft-{view.suite.name if view.suite else 'empty'}{'-oracle' if view.oracle else ''}"
    if form == "csv":
        header = export_header()
        return csv_response(
            f"{name}.csv", header, ([row.get(key) for key in header] for row in rows)
        )
    suite = (
        {"name": view.suite.name, "version": view.suite.version, "digest": view.suite.digest}
        if view.suite
        else None
    )
    return json_response(
        {
            "suite": suite,
            "board": "oracle" if view.oracle else "main",
            "sort": view.sort,
            "descending": view.descending,
            "page": view.page,
            "rows": rows,
        }
    )


@require_safe
def model(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show everything about one model: its runs, and what each method did to its answers."""
    row = access_model(request.user, public_id)
    shown = may_see_location(request.user, row)
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        whole = model_page(row, request.user, whole=True)
        return json_response(model_json(whole, show_location=shown))
    page = model_page(
        row,
        request.user,
        opened=search(request.GET, "method"),
        whole=bool(choice(request.GET, "controls", ["all"])),
    )
    context = {"model": row, "page": page, "show_location": shown}
    context["shown"] = SHOWN
    context["capabilities"] = capabilities(row.capabilities or [])
    return TemplateResponse(request, "boards/model.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Explain every metric as the library defines it."""
    groups = {"What happened": decomposition, "What it cost": cost, "Could it be judged": quality}
    return TemplateResponse(request, "boards/about.html", {"groups": groups})
