"""Caps and bans that the linter cannot count."""

from __future__ import annotations

import ast
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES, MODULE_LINES = 60, 500
SETTINGS_LINES = 100
MOCKS_PER_1000_LINES = 2
BANNED_CALLS = {"eval", "exec"}
BANNED_IMPORTS = {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
MARKS_SAFE = {"leaderboard/core/rendering.py"}
"""The one reviewed module that may mark text safe."""


def _sources(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not {"migrations", "scaffold", "build", "__pycache__"} & set(path.parts)
    ]


CODE = [
    path for path in _sources("evaluators", "leaderboard", "plugins") if "tests" not in path.parts
]
TESTS = [
    *_sources("tests"),
    *(path for path in _sources("plugins") if "tests" in path.parts),
]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _parsed(paths: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    for path in paths:
        yield _name(path), ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring: explaining oneself is free."""
    first = node.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    words = first.end_lineno - first.lineno + 1 if told else 0
    return node.end_lineno - node.lineno + 1 - words


class TestLengths:
    def test_refuses_long_functions(self):
        assert [
            f"{name}:{node.lineno} {node.name}"
            for name, tree in _parsed(CODE)
            for node in _functions(tree)
            if _lines(node) > FUNCTION_LINES
        ] == []

    def test_refuses_long_modules(self):
        lengths = {_name(path): len(path.read_text().splitlines()) for path in CODE}
        assert {name: n for name, n in lengths.items() if n > MODULE_LINES} == {}

    def test_refuses_long_settings(self):
        settings = ROOT / "leaderboard" / "settings"
        lengths = {
            name: len((settings / f"{name}.py").read_text().splitlines())
            for name in ("dev", "test", "production")
        }
        assert {name: n for name, n in lengths.items() if n > SETTINGS_LINES} == {}


class TestDocstrings:
    def test_every_module_says_what_it_is_for(self):
        assert [
            name for name, tree in _parsed(CODE) if tree.body and not ast.get_docstring(tree)
        ] == []

    def test_public_functions_and_classes_say_what_they_do(self):
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        assert [
            f"{name}:{node.lineno} {node.name}"
            for name, tree in _parsed(CODE)
            for node in tree.body
            if isinstance(node, kinds)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ] == []


class TestExceptionsToRules:
    """`noqa` and `type: ignore` name a rule and give a reason."""

    @pytest.mark.parametrize(
        ("marker", "accepted"),
        [
            ("noqa", re.compile(r"#\s*noqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)* +- \S+")),
            ("type: ignore", re.compile(r"#\s*type: ignore\[[a-z-]+(, ?[a-z-]+)*\]\s+# \S+")),
            ("pragma: no cover", re.compile(r"#\s*pragma: no cover - \S+")),
        ],
    )
    def test_refuses_bare_ones(self, marker, accepted):
        bare = []
        for path in CODE:
            with tokenize.open(path) as file:
                for token in tokenize.generate_tokens(file.readline):
                    told = token.type == tokenize.COMMENT and marker in token.string
                    if told and not accepted.search(token.string):
                        bare.append(f"{_name(path)}:{token.start[0]} {token.string}")
        assert bare == []


class TestBans:
    def test_refuses_code_from_data(self):
        assert [
            f"{name}:{node.lineno}"
            for name, tree in _parsed(CODE)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BANNED_CALLS
        ] == []

    def test_refuses_formats_that_run_code(self):
        found = []
        for name, tree in _parsed(CODE):
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                found += [f"{name}:{node.lineno}" for one in names if one in BANNED_IMPORTS]
        assert found == []

    def test_refuses_unsafe_yaml(self):
        loads = {"load", "load_all", "full_load", "full_load_all", "unsafe_load"}
        reviewed = re.compile(r"Loader=\w+\)  # noqa: S506 - a safe loader")
        assert [
            f"{name}:{number}"
            for name, lines in ((_name(path), path.read_text().splitlines()) for path in CODE)
            for number, line in enumerate(lines, 1)
            if (found := re.search(r"\byaml\.(\w+)\(", line))
            and found[1] in loads
            and not reviewed.search(line)
        ] == []

    def test_refuses_a_shell(self):
        assert [
            f"{name}:{node.value.lineno}"
            for name, tree in _parsed(CODE)
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword)
            and node.arg == "shell"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ] == []

    def test_refuses_text_marked_safe_elsewhere(self):
        templates = [
            _name(path)
            for path in sorted((ROOT / "leaderboard").rglob("*.html"))
            if re.search(r"\|\s*safe\b|autoescape\s+off", path.read_text(encoding="utf-8"))
        ]
        code = [
            _name(path)
            for path in CODE
            if re.search(r"\bmark_safe\b", path.read_text(encoding="utf-8"))
        ]
        assert templates == []
        assert set(code) <= MARKS_SAFE

    def test_refuses_inline_scripts_and_styles(self):
        inline = re.compile(
            r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style\b|\sstyle=|\son[a-z]+=\"",
            re.IGNORECASE,
        )
        assert [
            _name(path)
            for path in sorted((ROOT / "leaderboard").rglob("*.html"))
            if inline.search(path.read_text(encoding="utf-8"))
        ] == []

    def test_refuses_many_mocks(self):
        lines = sum(len(path.read_text().splitlines()) for path in TESTS)
        mocks = sum(
            len(re.findall(r"\b(?:mock|Mock|MagicMock|AsyncMock|patch)\b\(", path.read_text()))
            for path in TESTS
        )
        assert mocks / lines * 1000 <= MOCKS_PER_1000_LINES

    def test_refuses_paths_of_somebodys_machine(self):
        pattern = re.compile(r"/(?:work|home/[a-z]+|Users/[A-Za-z]+)/")
        assert [_name(path) for path in CODE if pattern.search(path.read_text())] == []


class TestPublicNames:
    @pytest.mark.parametrize(
        "path",
        [p for p in CODE if "__all__ = [" in p.read_text(encoding="utf-8")],
        ids=_name,
    )
    def test_lists_are_sorted(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        listed = next(
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        )
        kinds = [0 if name.isupper() else 1 if name[0].isupper() else 2 for name in listed]
        assert listed == [name for _, name in sorted(zip(kinds, listed, strict=True))]
        assert len(listed) == len(set(listed))


class TestContracts:
    """Every plugin package stands under the import contracts."""

    CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    PACKAGES = sorted(path.parent.name for path in ROOT.glob("plugins/*/redraft_*/__init__.py"))

    def test_plugins_are_analysed(self):
        assert set(self.PACKAGES) <= set(self.CONTRACTS["root_packages"])

    def test_plugins_are_independent(self):
        independent = next(c for c in self.CONTRACTS["contracts"] if c["type"] == "independence")
        assert set(self.PACKAGES) <= set(independent["modules"])

    def test_every_part_of_the_library_is_closed_to_plugins(self):
        protected = next(
            contract
            for contract in self.CONTRACTS["contracts"]
            if "evaluators.model" in contract.get("protected_modules", [])
        )
        parts = {
            f"evaluators.{path.stem}"
            for path in (ROOT / "evaluators").iterdir()
            if (path.suffix == ".py" or (path / "__init__.py").exists())
            and not path.name.startswith("__")
        }
        open_to_plugins = {"evaluators.api", "evaluators.testing"}
        assert parts - set(protected["protected_modules"]) == open_to_plugins

    def test_plugins_of_one_module_import_the_api_alone(self):
        modules = [
            path for path in ROOT.glob("plugins/*/redraft_*.py") if "build" not in path.parts
        ]
        assert modules
        for name, tree in _parsed(modules):
            imported = {
                node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evaluators")
            }
            assert imported <= {"evaluators.api", "evaluators.testing"}, name
