"""From stored estimates to figures that readers see: units, bars, denominators, reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from evaluators.metrics import CONFIDENCE, Estimate
from leaderboard.core.rendering import Figure

Unit = Literal["share", "points", "ratio", "count", "mean"]
FEW = 10
"""CL and CS over fewer answers than this are marked and never stand on top."""
DASH = "–"
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Style:
    """How a metric is written and drawn."""

    unit: Unit
    base: str = "n"
    """What its denominator counts."""


STYLES: Mapping[str, Style] = {
    "acc@1": Style("share"),
    "acc@last": Style("share"),
    "delta": Style("points"),
    "CL": Style("share", "right at first"),
    "CS": Style("share", "wrong at first"),
    "RSS": Style("ratio"),
    "extra_tokens": Style("mean"),
    "calls": Style("mean"),
    "tokens_out": Style("mean"),
    "tokens_in": Style("mean"),
    "tokens_computed": Style("mean"),
    "tokens_per_net_fix": Style("mean"),
    **dict.fromkeys(
        (
            "verdict_acc", "error_recall", "correct_precision", "verdict_TPR", "verdict_TNR",
            "location_acc", "location_acc_mistake", "location_acc_sound", "verdict_unparsed",
        ),
        Style("share"),
    ),
}  # fmt: skip


def style_of(metric: str) -> Style:
    """Return how a metric is written; one that is not known here is a share if it can be one."""
    return STYLES.get(metric) or STYLES.get(f"{metric.partition('@')[0]}@1") or Style("ratio")


def number(value: float | None, unit: Unit) -> str:
    """Write a value in its unit, without the unit's name."""
    if value is None:
        return DASH
    match unit:
        case "share":
            text = f"{100 * value:.1f}"
        case "points":
            text = f"{100 * value:+.1f}" if round(100 * value, 1) else "0.0"
        case "ratio":
            text = f"{value:.2f}"
        case "count":
            text = f"{value:+.0f}"
        case "mean":
            text = f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", MINUS)


def figure(estimate: Estimate, metric: str, denominator: int | None = None) -> Figure:
    """Return the figure of an estimate.

    Args:
        denominator: What CL or CS rests on, when the estimate is a mean over tasks.
    """
    style = style_of(metric)
    below = denominator if denominator is not None else estimate.denominator
    counted = style.base != "n"
    if estimate.value is None:
        n = _n(estimate) if estimate.n else ""
        return Figure(DASH, n=n, note=short_reason(estimate.reason), tone="none")
    few = counted and below is not None and below < FEW
    return Figure(
        text=number(estimate.value, style.unit),
        interval=_interval(estimate, style.unit),
        n=f"n {below:.0f}" if counted and below is not None else _n(estimate),
        method=estimate.method if estimate.has_interval else "",
        note=_note(estimate, style, few=few),
        tone=_tone(estimate, style, few=few),
        bar=_bar(estimate, style.unit),
        zero=0.5 if style.unit in {"points", "ratio"} else None,
    )


def tested(shown: Figure, difference: Estimate, p_holm: float | None) -> Figure:
    """Return the figure of one difference among several: coloured only if it outlives Holm."""
    if p_holm is None:
        return shown
    significant = p_holm < 1 - CONFIDENCE
    tone = ("gain" if (difference.value or 0) > 0 else "loss") if significant else "quiet"
    words = [
        "tasks left out" if "left out" in difference.reason else "",
        "" if significant else "not significant",
        f"p {p_text(p_holm)} (Holm)",
    ]
    return replace(shown, note=", ".join(filter(None, words)), tone=tone)


def p_text(p: float) -> str:
    """Write a p-value to three digits, never as 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def short_reason(reason: str) -> str:
    """Return the reason without its frame and without its second half."""
    return reason.removeprefix("null in every task: ").partition(":")[0]


def _n(estimate: Estimate) -> str:
    total = f"/{estimate.n_total}" if estimate.n_total != estimate.n else ""
    return f"n {estimate.n}{total}"


def _interval(estimate: Estimate, unit: Unit) -> str:
    if not estimate.has_interval:
        return ""
    low, high = number(estimate.low, unit), number(estimate.high, unit)
    return f"{low} to {high}" if MINUS in low + high or "+" in low + high else f"{low}–{high}"


def undecided(estimate: Estimate) -> bool:
    """Tell whether a difference may as well be zero."""
    return estimate.low is None or estimate.high is None or estimate.low <= 0 <= estimate.high


def _note(estimate: Estimate, style: Style, *, few: bool) -> str:
    if few:
        return f"fewer than {FEW}"
    if not estimate.has_interval:
        return short_reason(estimate.reason) or "no interval"
    if style.unit == "points" and undecided(estimate):
        return "not significant"
    return "tasks left out" if "left out" in estimate.reason else ""


def _tone(estimate: Estimate, style: Style, *, few: bool) -> str:
    if few:
        return "weak"
    if style.unit != "points":
        return ""
    if undecided(estimate):
        return "quiet"
    return "gain" if (estimate.value or 0) > 0 else "loss"


_AXES: Mapping[Unit, tuple[float, float]] = {
    "share": (0, 1),
    "points": (-0.5, 0.5),
    "ratio": (0, 1),
}


def _bar(estimate: Estimate, unit: Unit) -> tuple[float, float, float] | None:
    if unit not in _AXES or estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    start, end = _AXES[unit]
    low, value, high = (
        (x - start) / (end - start) for x in (estimate.low, estimate.value, estimate.high)
    )
    return low, value, high
