"""Turns text from models and users into safe markup: the one module that may mark text safe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe  # noqa: TID251 - the reviewed module

from evaluators.cards import Turn, svg

PREVIEW_BYTES = 4096
"""What a page shows of one output; the whole text is a download."""

_HIDDEN = (
    "["
    "\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"  # C0 and C1 without tab, LF, CR
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, Arabic mark, fillers
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"  # zero width, separators, bidirectional
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # variation selectors, BOM, interlinear marks
    "\U000e0000-\U000e0fff\ud800-\udfff"  # tags, which can hide whole sentences, and surrogates
    "]"
)
_HIDDEN_RUN = re.compile(f"({_HIDDEN})\\1*")
_CODE = re.compile(r"`([^`\n]+)`")
_LINE_BREAKS = re.compile(r"[\t\n\r]")
_SPELLED = re.compile(r"⟦U\+[0-9A-F]{4,6}(?: ×\d+)?⟧")


def visible(text: object) -> str:
    """Spell out characters that cannot be seen, such as U+202E, as `⟦U+202E⟧`."""
    return _HIDDEN_RUN.sub(_spelled, str(text))


def visible_line(text: str) -> str:
    """Spell out hidden characters in a name, which has no business with line breaks either."""
    return _LINE_BREAKS.sub(_spelled, visible(unicodedata.normalize("NFKC", text)))


def _spelled(match: re.Match[str]) -> str:
    run = match.group()
    times = f" ×{len(run)}" if len(run) > 3 else ""  # a page of NULs must not become a book
    mark = f"⟦U+{ord(run[0]):04X}{times}⟧"
    return mark if times else mark * len(run)


def output(text: str) -> SafeString:
    """Return model text as an isolated run of escaped characters, for a `<pre>`."""
    return mark_safe(f"<bdi>{_marked(visible(text))}</bdi>")  # noqa: S308 - escaped in _marked


def name(text: object) -> SafeString:
    """Return the name of a model, user or plugin as an isolated run of escaped characters."""
    return mark_safe(f"<bdi>{_marked(visible_line(str(text)))}</bdi>")  # noqa: S308 - escaped in _marked


def breakable(text: object) -> SafeString:
    """Return such a name that narrow cells may break after an underscore, not within a word."""
    return mark_safe(name(text).replace("_", "_<wbr>"))  # noqa: S308 - escaped in _marked


def prose(text: object) -> SafeString:
    """Return a sentence of a plugin's author, with what stands in backticks set as code."""
    marked = _marked(visible(text))
    return mark_safe(_CODE.sub(r"<code>\1</code>", marked))  # noqa: S308 - escaped in _marked


def _marked(text: str) -> str:
    return _SPELLED.sub(r'<span class="codepoint">\g<0></span>', escape(text))


@dataclass(frozen=True, slots=True)
class Preview:
    """The start of a text that may be too long for a page."""

    text: str
    cut: bool
    """The text goes on."""
    bytes: int
    """Size of the whole text in UTF-8."""


def preview(text: str, limit: int = PREVIEW_BYTES) -> Preview:
    """Return at most `limit` bytes of a text, never half a character."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return Preview(text, cut=False, bytes=len(raw))
    return Preview(raw[:limit].decode("utf-8", "ignore"), cut=True, bytes=len(raw))


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as a reader sees it: never without its denominator, interval or reason."""

    text: str
    """The value, or a dash."""
    interval: str = ""
    """Bounds, as text."""
    n: str = ""
    """Denominator, as `n` or `n of total`."""
    method: str = ""
    """How the interval was made."""
    against: str = ""
    """What the value is a difference from."""
    note: str = ""
    """Why there is no value, or why it should be read with care."""
    tone: str = ""
    """Words that pick a style: gain, loss, weak, none."""
    bar: tuple[float, float, float] | None = None
    """Lower bound, value and upper bound as shares of the axis."""
    zero: float | None = None
    """Where zero lies on the axis, when that matters."""
    detail: str = ""
    """What only the tooltip says besides."""

    @property
    def title(self) -> str:
        """All of it in one line, for tooltips."""
        parts = [self.text, f"95 % interval {self.interval}" if self.interval else "",
                 f"({self.method})" if self.method else "", self.n, self.against, self.note,
                 self.detail]  # fmt: skip
        return " ".join(part for part in parts if part)


def cell(figure: Figure) -> SafeString:
    """Return the markup of a figure: value, bar, interval, denominator and reason."""
    small = [part for part in (figure.against, figure.n, figure.method) if part]
    basis = ", ".join(f"<span>{escape(part)}</span>" for part in small)
    tooltip = f' title="{escape(figure.title)}"' if figure.detail else ""
    pieces = [
        f'<span class="fig {escape(figure.tone)}"{tooltip}>',
        f'<span class="value">{escape(figure.text)}</span>',
        _bar(figure),
        f'<span class="bounds">{escape(figure.interval)}</span>' if figure.interval else "",
        f'<span class="basis">{basis}</span>' if basis else "",
        f'<span class="note">{escape(figure.note)}</span>' if figure.note else "",
        "</span>",
    ]
    return mark_safe("".join(pieces))  # noqa: S308 - every piece of text is escaped above


def _bar(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    low, value, high = (100 * min(max(share, 0.0), 1.0) for share in figure.bar)
    zero = ""
    if figure.zero is not None:
        zero = f'<rect class="zero" x="{100 * figure.zero - 0.5:.1f}" y="0" width="1" height="7"/>'
    return (
        '<svg class="ci" viewBox="0 0 100 7" preserveAspectRatio="none" aria-hidden="true"'
        ' focusable="false"><rect class="axis" x="0" y="3" width="100" height="1"/>'
        f"{zero}"
        f'<rect class="range" x="{low:.1f}" y="2" width="{max(high - low, 0.8):.1f}" height="3"/>'
        f'<rect class="point" x="{min(max(value - 1.25, 0), 97.5):.1f}" y="0" width="2.5" '
        'height="7"/></svg>'
    )


def diagram(turns: Sequence[Turn], title: str) -> SafeString:
    """Return the drawing of a method's turns: built by a library from text, so escaped by it."""
    return mark_safe(svg(turns, title=title)) if turns else SafeString()  # noqa: S308 - as said


def meter(done: int, total: int | None) -> SafeString:
    """Return a progress bar; an unknown total gives an empty one."""
    share = min(done / total, 1.0) if total else 0.0
    return mark_safe(  # noqa: S308 - numbers only
        '<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"'
        ' focusable="false"><rect class="axis" x="0" y="0" width="100" height="6"/>'
        f'<rect class="range" x="0" y="0" width="{100 * share:.1f}" height="6"/></svg>'
    )
