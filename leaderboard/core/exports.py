"""Answers for machines: CSV that a spreadsheet cannot mistake for formulas, and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from django.http import HttpResponse, JsonResponse

_FORMULA_STARTS = tuple("=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20")
"""The last four are full-width = + - @, which some spreadsheets take for their narrow twins."""

Scalar = str | int | float | bool | None


def csv_cell(value: Scalar) -> Scalar:
    """Return a value as a cell: numbers stay numbers, text never starts a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def csv_response(
    filename: str, header: Sequence[str], rows: Iterable[Sequence[Scalar]]
) -> HttpResponse:
    """Return rows as an RFC 4180 attachment."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([csv_cell(title) for title in header])
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    response = HttpResponse(buffer.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def json_response(data: dict[str, object], status: int = 200) -> JsonResponse:
    """Return JSON with real characters, indented for people who look at it."""
    return JsonResponse(
        data,
        status=status,
        json_dumps_params={"ensure_ascii": False, "indent": 1, "allow_nan": False},
    )


def text_response(filename: str, text: str) -> HttpResponse:
    """Return untrusted text as a download that no browser renders."""
    response = HttpResponse(
        text.encode("utf-8", "replace"), content_type="text/plain; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
