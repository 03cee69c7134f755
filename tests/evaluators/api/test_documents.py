"""The documents are true: what they show is what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_readme_shows_the_example_plugin_to_the_letter() -> None:
    (shown,) = blocks("README.md", "python")
    assert shown == (ROOT / "plugins/example/redraft_example.py").read_text(encoding="utf-8")
    assert blocks("README.md", "toml")[0] in (ROOT / "plugins/example/pyproject.toml").read_text()


def test_tutorial_shows_what_new_writes(tmp_path: Path) -> None:
    new = [sys.executable, "-m", "evaluators", "new", "second_thoughts"]
    command = [*new, "--into", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    package = tmp_path / "redraft-second-thoughts"
    written = (package / "redraft_second_thoughts/second_thoughts.py").read_text()
    tests = (package / "tests/test_second_thoughts.py").read_text()
    method, test = blocks("docs/write-an-evaluator.md", "python")
    assert written.endswith(method)
    assert test in tests


@pytest.mark.parametrize("document", ["README.md", "docs/write-an-evaluator.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    home = (ROOT / document).parent
    assert [link for link in links if not (home / link).exists()] == []
    assert links or "http" not in text


@pytest.mark.parametrize("document", ["README.md", "docs/write-an-evaluator.md"])
def test_options_of_shown_commands_exist(document: str) -> None:
    from evaluators.cli import cli

    shown = "\n".join(blocks(document, "sh")).replace("\\\n", " ")
    for line in re.findall(r"python -m evaluators (.*)", shown):
        name, *rest = line.split("#")[0].split()
        command = cli.get_command(None, name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line
