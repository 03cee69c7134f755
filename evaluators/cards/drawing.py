"""The turn diagram of a method: SVG for pages, Mermaid for Markdown, lines for terminals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from evaluators.cards.turns import QUESTION, Turn

WIDTH, HEIGHT = 216, 62
"""Of a box."""

GAP_X, GAP_Y = 20, 30
"""Between boxes."""

MARGIN = 8

Place = tuple[float, float]
"""Of a box, its upper left corner."""

EXCERPT = 32
"""Characters of a reply that a box shows."""


def svg(turns: Sequence[Turn], *, title: str) -> str:
    """Draw boxes from top to bottom, those that build on nothing of each other side by side.

    The drawing takes its colour from the page, needs no script and no style sheet, and says in
    its description what it shows. Boxes of answers have a thick frame, of moves without a call a
    dashed one.
    """
    places = _places(turns)
    long = [
        (parent, turn.idx)
        for turn in turns
        for parent in turn.after
        if places[turn.idx][1] - places[parent][1] > HEIGHT + GAP_Y
    ]
    edge = max(x for x, _ in places.values()) + WIDTH + MARGIN
    width = edge + MARGIN * len(long)
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "class": "turns",
            "font-family": "inherit",
            "fill": "currentColor",
        },
    )
    SubElement(root, "title").text = title
    SubElement(root, "desc").text = " ".join(f"{line}." for line in lines(turns))
    for turn in turns:
        for parent in turn.after:
            if (parent, turn.idx) not in long:
                _arrow(root, places[parent], places[turn.idx])
    for number, (parent, child) in enumerate(long):
        _detour(root, places[parent], places[child], gutter=edge + MARGIN * number)
    for turn in turns:
        _box(root, turn, places[turn.idx])
    return tostring(root, encoding="unicode")


def mermaid(turns: Sequence[Turn]) -> str:
    """Return the diagram in the notation that code hosts draw in Markdown."""
    rows = ["flowchart TD"]
    for turn in turns:
        words = "<br>".join(_escaped(line) for line in _words(turn) if line)
        left, right = ('(["', '"])') if not turn.call else ('["', '"]')
        rows.append(f"    t{turn.idx}{left}{words}{right}")
    rows += [f"    t{parent} --> t{turn.idx}" for turn in turns for parent in turn.after]
    answers = [f"t{turn.idx}" for turn in turns if turn.answers]
    rows += [f"    style {name} stroke-width:3px" for name in answers]
    return "\n".join(rows)


def lines(turns: Sequence[Turn]) -> list[str]:
    """Return a line per turn: what it is for, what it builds on and what it says."""
    return [_line(turn) for turn in turns]


def _line(turn: Turn) -> str:
    said = f": “{_short(turn.text)}”" if turn.text.strip() else ""
    after = f", after {', '.join(str(idx + 1) for idx in turn.after)}" if turn.after else ""
    asked = f", asked {_asked(turn)}" if turn.asked else ""
    return f"{turn.idx + 1}. {_headline(turn)}{after}{asked}{said}"


def _words(turn: Turn) -> tuple[str, str, str]:
    """Return the three lines of a box."""
    said = f"“{_short(turn.text)}”" if turn.text.strip() else ""
    asked = _asked(turn).replace(f"{_folder(turn)}/", "") if _folder(turn) else _asked(turn)
    return f"{turn.idx + 1}. {_headline(turn)}", _short(asked), said


def _headline(turn: Turn) -> str:
    speaker = " ".join(
        word for word in (turn.role if turn.role != "actor" else "", turn.agent) if word
    )
    parts = [turn.kind, f"by {speaker}" if speaker else "", _outcome(turn)]
    return " ".join(part for part in parts if part)


def _outcome(turn: Turn) -> str:
    if turn.answers:
        states = " ".join(f"a{number}" for number in turn.answers)
        return f"{states} {'✓' if turn.correct else '✗'}"
    return f"→ {turn.verdict}" if turn.verdict else ""


def _asked(turn: Turn) -> str:
    return ", ".join("the question" if name == QUESTION else name for name in turn.asked)


def _folder(turn: Turn) -> str:
    """Return the folder that all prompts of a turn are in: a box has no room to repeat it."""
    folders = {name.rpartition("/")[0] for name in turn.asked}
    return folders.pop() if len(folders) == 1 else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def _escaped(text: str) -> str:
    """Return text that means nothing to Mermaid."""
    for sign, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(sign, code)
    return text


def _places(turns: Sequence[Turn]) -> dict[int, Place]:
    """Return the upper left corner of every box."""
    depth: dict[int, int] = {}
    for turn in turns:  # parents come before their children
        depth[turn.idx] = 1 + max((depth[parent] for parent in turn.after), default=-1)
    widths = Counter(depth.values())
    widest = max(widths.values()) * (WIDTH + GAP_X) - GAP_X
    taken: Counter[int] = Counter()
    places: dict[int, Place] = {}
    for turn in turns:
        row = depth[turn.idx]
        left = MARGIN + (widest - widths[row] * (WIDTH + GAP_X) + GAP_X) / 2
        places[turn.idx] = (left + taken[row] * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
        taken[row] += 1
    return places


def _arrow(root: Element, start: Place, end: Place) -> None:
    """Draw an arrow from a box to one in the next row."""
    x1, y1 = start[0] + WIDTH / 2, start[1] + HEIGHT
    x2, y2 = end[0] + WIDTH / 2, end[1]
    _line_to(
        root,
        f"M{x1:g} {y1:g} C{x1:g} {y1 + GAP_Y:g} {x2:g} {y2 - GAP_Y:g} {x2:g} {y2:g}",
        (x2, y2),
    )


def _detour(root: Element, start: Place, end: Place, *, gutter: float) -> None:
    """Draw an arrow that passes rows: between the rows to the side, down, and back."""
    x1, y1 = start[0] + WIDTH - MARGIN, start[1] + HEIGHT
    x2, y2 = end[0] + WIDTH - MARGIN, end[1]
    path = f"M{x1:g} {y1:g} v8 H{gutter:g} V{y2 - 12:g} H{x2:g} V{y2:g}"
    _line_to(root, path, (x2, y2))


def _line_to(root: Element, path: str, tip: Place) -> None:
    x, y = tip
    look = {"fill": "none", "stroke": "currentColor", "stroke-linejoin": "round"}
    SubElement(root, "path", {"d": path, **look})
    SubElement(root, "path", {"d": f"M{x - 4:g} {y - 7:g} L{x:g} {y:g} L{x + 4:g} {y - 7:g} Z"})


def _box(root: Element, turn: Turn, place: Place) -> None:
    x, y = place
    group = SubElement(root, "g", {"class": f"turn turn-{turn.kind}"})
    frame = {
        "x": f"{x:g}", "y": f"{y:g}", "width": str(WIDTH), "height": str(HEIGHT), "rx": "6",
        "fill": "none", "stroke": "currentColor", "stroke-width": "2.5" if turn.answers else "1",
    }  # fmt: skip
    SubElement(group, "rect", frame | ({} if turn.call else {"stroke-dasharray": "5 3"}))
    looks: tuple[dict[str, str], ...] = ({"font-weight": "600"}, {"opacity": "0.75"}, {})
    for number, (words, look) in enumerate(zip(_words(turn), looks, strict=True)):
        at = {"x": f"{x + 10:g}", "y": f"{y + 20 + 17 * number:g}", "font-size": "12.5"}
        SubElement(group, "text", at | look).text = words
