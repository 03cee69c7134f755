"""Method cards as Markdown: a page per method, and an index by family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluators.controls import TITLES
from evaluators.registry import EvaluatorCard

EVERY_RUN = frozenset({"decomposition", "cost", "quality"})
"""Groups of metrics that every run reports: a page names them in one line."""

CLASSES = {
    "intrinsic": "intrinsic: nothing but the model itself",
    "external_feedback": "external feedback: tools, or what others say",
    "oracle": "oracle: the right answer decides what happens",
}
"""What a method may learn beyond the model."""

GENERATED = (
    "<!-- Written by `make method-docs` from the method's card; change the card instead. -->"
)


def page(found: EvaluatorCard) -> str:
    """Return a method's page."""
    card = found.card
    title = f"*{card['title']}*" if card.get("title") else ""
    paper = f"[arXiv {found.source}]({card['url']})" if found.source else ""
    blocks = [
        GENERATED,
        f"# {found.name}",
        found.summary,
        " · ".join(part for part in (title, paper) if part),
        _unwrapped(found.description),
        _table(("", ""), list(facts(found))),
        *_section("Turns", _turns(card)),
        *_section("Parameters", _parameters(card.get("parameters", ()))),
        *_section("Where it does otherwise than the paper", _listed(card.get("deviations", ()))),
        *_section("Published figures", _published(card.get("published", ()))),
        *_section("Metrics", _metrics(card.get("metrics", ()))),
        *_section("Prompts", "\n\n".join(map(_prompt, card.get("prompts", ())))),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def facts(found: EvaluatorCard) -> Iterator[tuple[str, str]]:
    """Yield what a card says in a line each: class, calls, needs, controls, ..."""
    card = found.card
    yield "class", CLASSES[found.information]
    for name in ("calls", "decoding", "stops"):
        if card.get(name):
            yield name, card[name]
    yield "needs", ", ".join(f"`{name}`" for name in found.requires) or "nothing but text"
    yield "tasks put as", ", ".join(f"`{mode}`" for mode in found.modes)
    if found.roles:
        yield "roles of other models", ", ".join(f"`{role}`" for role in found.roles)
    titles = {str(kind): title for kind, title in TITLES.items()}
    held = ", ".join(titles[control] for control in found.controls)
    yield "held against", held or "nothing: it is a control or a baseline itself"
    yield "installed by", f"`{found.distribution}`"


def index(families: Mapping[str, Sequence[EvaluatorCard]], *, results: bool = False) -> str:
    """Return the index: a table per family.

    Args:
        families: Cards by what the family is called.
        results: A page `results.md` lies beside it.
    """
    measured = ", [which stands here](results.md)" if results else ""
    blocks = [
        GENERATED,
        "# Methods",
        "Every method with its turns, parameters, prompts and what its paper reports. "
        "`python -m evaluators show NAME` prints the same. Prompts can be replaced by a "
        "[prompt pack](prompt-packs.md); `make methods` runs every method for real on the small "
        f"model that comes with the installation, and writes one table{measured}.",
    ]
    for family, cards in families.items():
        rows = [
            (
                f"[`{card.name}`]({card.name}.md)",
                card.summary,
                card.card.get("calls", ""),
                card.information.replace("_", " "),
                f"[{card.source}]({card.card['url']})" if card.source else "",
            )
            for card in cards
        ]
        head = ("method", "what it does", "calls", "class", "arXiv")
        blocks += [f"## {family}", _table(head, rows)]
    return "\n\n".join(blocks) + "\n"


def _turns(card: Mapping[str, Any]) -> str:
    if not card.get("mermaid"):
        return ""
    legend = "A scripted example. Thick frames are answer states, round ones cost no call."
    return f"{legend}\n\n```mermaid\n{card['mermaid']}\n```"


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (f"`{p['name']}`", f"`{p['type']}`{_range(p)}", f"`{p['default']}`", p["text"])
        for p in parameters
    ]
    return _table(("name", "type", "default", "what it does"), rows) if rows else "None."


def _range(parameter: Mapping[str, Any]) -> str:
    low, high = parameter["minimum"], parameter["maximum"]
    if low is None and high is None:
        return ""
    return f" {'' if low is None else f'{low:g}'}…{'' if high is None else f'{high:g}'}"


def _listed(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _published(published: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            one["setting"],
            ", ".join(f"{name} {value:g}" for name, value in one["figures"].items()),
            one["source"] + (" (unverified)" if one["unverified"] else ""),
        )
        for one in published
    ]
    note = "Of the papers' own models and prompts, in per cent as printed; nothing we measured."
    return f"{note}\n\n{_table(('setting', 'figures', 'source'), rows)}" if rows else ""


def _metrics(metrics: Sequence[Mapping[str, Any]]) -> str:
    own = [metric for metric in metrics if metric["group"] not in EVERY_RUN]
    common = "Those of every run: accuracy at each answer, CL, CS, RSS, flips, cost, quality."
    if not own:
        return common
    rows = [(f"`{metric['name']}`", metric["definition"]) for metric in own]
    return f"{common} And its own:\n\n{_table(('name', 'definition'), rows)}"


def _prompt(prompt: Mapping[str, Any]) -> str:
    fence = "```"
    while fence in prompt["text"]:
        fence += "`"
    return f"`{prompt['name']}` · {prompt['digest']}\n\n{fence}text\n{prompt['text']}\n{fence}"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["-"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in cells)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _unwrapped(text: str) -> str:
    """Return paragraphs on one line each, as the docstring's width means nothing here."""
    return "\n\n".join(" ".join(block.split()) for block in text.split("\n\n"))
