"""Every method that we ship: listed, documented, presented, and what every evaluator must be."""

import ast
import re
import statistics
import tomllib
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import pytest

from evaluators.cards import MethodCard, installed_prompts, method_card, prompts_of, read_card
from evaluators.cards.markdown import GENERATED
from evaluators.cli.show import write_docs
from evaluators.evaluator import Evaluator
from evaluators.metrics import names as metric_names
from evaluators.registry import installed, load_evaluator
from evaluators.strategies.parity import demands
from evaluators.testing import check_evaluator

PLUGINS = Path(__file__).parents[2] / "plugins"
PAGES = PLUGINS.parent / "docs" / "methods"
LISTED = tomllib.loads((PLUGINS / "methods.toml").read_text(encoding="utf-8"))
METHODS = LISTED["methods"]
FAMILIES = {
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]: path.parent.name
    for path in PLUGINS.glob("*/pyproject.toml")
    if path.parent.name != "example"
}
"""Folders of the bundled families by distribution."""

INSTALLED = {e.name: FAMILIES[e.distribution] for e in installed() if e.distribution in FAMILIES}
ALIKE = 0.9
"""Similarity above which a text is a copy of another."""

MODULE_LINES = 100
LONGER = {"locate_mistake": 110, "progco": 125}  # three ways of finding; seven kinds of call
"""Most lines of a module, docstrings left out."""

ROUNDING = 0.05
"""By how much a figure printed with one decimal may be off; with two, a tenth of it."""


@pytest.fixture(params=sorted(INSTALLED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def evaluator(name: str) -> Evaluator:
    return load_evaluator(name)


@pytest.fixture
async def card(evaluator: Evaluator) -> MethodCard:
    return await method_card(evaluator)


class TestListed:
    def test_says_what_the_list_says(self, name: str, evaluator: Evaluator) -> None:
        told = METHODS[name]
        assert told["family"] == INSTALLED[name]
        assert (told["source"], told["class"]) == (evaluator.source, evaluator.information)

    def test_controls_are_held_against_nothing(self, name: str, evaluator: Evaluator) -> None:
        if METHODS[name]["group"] == "control":
            assert evaluator.controls == ()

    def test_is_in_its_family_s_readme(self, name: str) -> None:
        readme = (PLUGINS / INSTALLED[name] / "README.md").read_text(encoding="utf-8")
        assert f"`{name}`" in readme

    def test_names_its_paper_in_its_docstring(self, evaluator: Evaluator) -> None:
        if evaluator.source:
            assert re.fullmatch(r"\d{4}\.\d{5}", evaluator.source)
            assert evaluator.source in f"{evaluator.summary} {evaluator.description}"


class TestConforms:
    async def test_does_what_every_evaluator_must_do(self, name: str) -> None:
        assert [line for line in await check_evaluator(name) if not line.passed] == []


class TestCard:
    def test_is_there_and_valid(self, evaluator: Evaluator) -> None:
        assert read_card(evaluator) is not None

    async def test_its_example_plays_and_is_drawn(self, card: MethodCard) -> None:
        assert card.problem == ""
        assert card.turns[0].kind in {"answer", "given"}
        assert any(turn.answers for turn in card.turns)
        assert card.diagram.startswith("<svg")

    async def test_its_example_uses_all_of_its_script(
        self, evaluator: Evaluator, card: MethodCard
    ) -> None:
        told = read_card(evaluator)
        assert told is not None
        assert len(told.example) <= sum(turn.call for turn in card.turns)

    async def test_has_the_paper_s_title(self, evaluator: Evaluator, card: MethodCard) -> None:
        assert bool(card.title) == bool(evaluator.source)

    async def test_says_the_calls_that_the_docstring_says(
        self, evaluator: Evaluator, card: MethodCard
    ) -> None:
        assert card.calls
        assert re.search(r"\bCalls:\s", evaluator.description)

    async def test_published_figures_obey_the_identities(self, card: MethodCard) -> None:
        for one in card.published:
            f = one["figures"]
            if {"acc@1", "acc@last", "i2c_all", "c2i_all"} <= f.keys():
                expected = f["acc@1"] + f["i2c_all"] - f["c2i_all"]
                assert f["acc@last"] == pytest.approx(expected, abs=4 * ROUNDING), one
            if {"acc@1", "acc@last", "delta"} <= f.keys():
                gain = f["acc@last"] - f["acc@1"]
                assert f["delta"] == pytest.approx(gain, abs=3 * ROUNDING), one
            if {"acc@1", "acc@last", "CL", "CS"} <= f.keys():
                kept = f["acc@1"] * f["CL"] + (100 - f["acc@1"]) * f["CS"]
                assert f["acc@last"] == pytest.approx(kept / 100, abs=4 * ROUNDING), one

    async def test_published_figures_name_their_source(self, card: MethodCard) -> None:
        for one in card.published:
            assert re.search(r"\d{4}\.\d{5}", one["source"]), one


class TestPrompts:
    async def test_the_card_has_all_that_the_example_was_asked(self, card: MethodCard) -> None:
        asked = {name for turn in card.turns for name in turn.asked} - {"question"}
        assert asked <= {prompt.name for prompt in card.prompts}

    async def test_demand_no_form_of_an_answer(
        self, evaluator: Evaluator, card: MethodCard
    ) -> None:
        answering = {name for turn in card.turns if turn.kind == "answer" for name in turn.asked}
        told = {p.name: demands(p.text) for p in prompts_of(evaluator) if p.name in answering}
        assert {name: forms for name, forms in told.items() if forms} == {}


class TestModule:
    def test_fits_a_page(self, name: str, evaluator: Evaluator) -> None:
        assert _lines(evaluator) <= LONGER.get(name, MODULE_LINES)


class TestTogether:
    def test_the_list_is_what_is_installed(self) -> None:
        assert {key: told["family"] for key, told in METHODS.items()} == INSTALLED

    def test_figures_are_metrics_and_not_methods(self) -> None:
        figures = LISTED["figures"]
        assert not set(figures) & set(METHODS)
        assert {metric for named in figures.values() for metric in named} <= set(metric_names())

    def test_modules_are_short(self) -> None:
        lengths = [_lines(load_evaluator(one)) for one in INSTALLED]
        assert statistics.median(lengths) < 60

    def test_pages_are_what_the_cards_say(self, tmp_path: Path) -> None:
        """`make method-docs` writes them anew."""
        if (PAGES / "results.md").exists():  # measured, and linked where it is there
            (tmp_path / "results.md").write_text("")
        for path in write_docs(tmp_path, tuple(FAMILIES)):
            page = PAGES / path.name
            assert page.exists(), f"make method-docs: {path.name} is missing"
            assert page.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
        there = {p.name for p in PAGES.glob("*.md") if p.read_text().startswith(GENERATED)}
        assert there == {path.name for path in tmp_path.iterdir()} - {"results.md"}

    def test_no_prompt_is_a_copy_of_another(self) -> None:
        prompts = installed_prompts().values()
        pairs = [
            (one.name, other.name)
            for one, other in combinations(prompts, 2)
            if _alike(one.text, other.text) > ALIKE
        ]
        assert pairs == []

    def test_every_prompt_file_belongs_to_a_method(self) -> None:
        used = {(p.package, p.name) for one in INSTALLED for p in prompts_of(load_evaluator(one))}
        packages = {load_evaluator(one).function.__module__.partition(".")[0] for one in INSTALLED}
        there = {key for key in installed_prompts() if key[0] in packages}
        assert there == used


def _alike(one: str, other: str) -> float:
    match = SequenceMatcher(None, one.split(), other.split(), autojunk=False)
    return match.ratio() if match.real_quick_ratio() > ALIKE else 0.0


def _lines(evaluator: Evaluator) -> int:
    """Count lines of the evaluator's module without its docstrings: explaining is free."""
    source = Path(evaluator.function.__code__.co_filename).read_text(encoding="utf-8")
    documented = (ast.Module, ast.AsyncFunctionDef, ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    texts = [node.body[0] for node in nodes if ast.get_docstring(node)]
    told = sum((text.end_lineno or text.lineno) - text.lineno + 1 for text in texts)
    return len(source.splitlines()) - told
