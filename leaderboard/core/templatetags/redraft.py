"""Template tags and filters of every page: safe names, figures, links that keep their query."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.http import HttpRequest
from django.template.context import Context
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from leaderboard.core import rendering

register = template.Library()
register.filter("name", rendering.name)
register.filter("breakable", rendering.breakable)
register.filter("output", rendering.output)
register.filter("cell", rendering.cell)
register.filter("prose", rendering.prose)
register.filter("visible", rendering.visible)
register.simple_tag(rendering.meter, name="meter")
register.simple_tag(rendering.diagram, name="diagram")

_STATE_TONES = {
    "COMPLETED": "done",
    "FAILED": "bad",
    "QUARANTINED": "bad",
    "CANCELLED": "bad",
    "PREPARING": "live",
    "RUNNING": "live",
    "SCORING": "live",
}


@register.filter
def state(run_or_shard: object) -> SafeString:
    """Show a state as a word with a mark, so that colour is never the only signal."""
    value = str(getattr(run_or_shard, "state", ""))
    label = (
        run_or_shard.get_state_display() if hasattr(run_or_shard, "get_state_display") else value
    )
    return format_html(
        '<span class="state {}">{}</span>', _STATE_TONES.get(value, ""), str(label).lower()
    )


@register.simple_tag(takes_context=True)
def nav_link(context: Context, target: str, label: str) -> SafeString:
    """Link to a page by the name of its URL, marked when it is the current one."""
    url = reverse(target)
    request = context.get("request")
    here = isinstance(request, HttpRequest) and request.path == url
    current = SafeString(' aria-current="page"') if here else ""
    return format_html('<a href="{}"{}>{}</a>', url, current, label)


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: object) -> str:
    """Return the current query string with some keys changed; None or an empty text drops a key."""
    request: HttpRequest = context["request"]
    values = request.GET.copy()
    for key, value in changes.items():
        values.pop(key, None)
        if value not in (None, ""):
            values[key] = str(value)
    return f"?{values.urlencode()}"


@register.simple_tag
def when(moment: datetime | None) -> SafeString | str:
    """Show a moment in UTC, to the second, in a form machines read too."""
    if moment is None:
        return "–"
    utc = moment.astimezone(timezone.get_default_timezone())
    return format_html(
        '<time datetime="{}">{}</time>', moment.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


@register.filter
def duration(seconds: float | None) -> str:
    """Say a number of seconds as people do: 41 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.simple_tag
def split_label(label: str) -> tuple[str, str]:
    """Return the organisation with its slash, and the name; the first is empty without one."""
    organisation, slash, rest = label.rpartition("/")
    return (organisation + slash, rest) if organisation and rest else ("", label)


@register.filter
def get(mapping: dict[str, object], key: str) -> object:
    """Look up a key that is only known at run time."""
    return mapping.get(key)


@register.simple_tag(takes_context=True)
def sort_query(context: Context, view: object, key: str, first_descending: frozenset[str]) -> str:
    """Return the query string that sorts by a column: its natural way first, then the other way."""
    descending = key in first_descending
    if getattr(view, "sort", "") == key:
        descending = not getattr(view, "descending", False)
    return query(context, sort=key, dir="desc" if descending else "asc", page=None)
