"""`new`: scaffolds a plugin package with one evaluator and its tests."""

from __future__ import annotations

import keyword
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

import click

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "package/__init__.py": "$package/__init__.py",
    "package/evaluator.py": "$package/$name.py",
    "tests/test_evaluator.py": "tests/test_$name.py",
}
"""Template below `evaluators/cli/scaffold/` to path in the new package."""


@click.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder that the package's folder is made in.",
)
def new(name: str, *, into: Path) -> None:
    """Make a plugin package with an evaluator NAME (snake_case), ready to install and test."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise click.BadParameter(
            f"{name!r} is no snake_case identifier, such as my_method.", param_hint="NAME"
        )
    folder = into / f"redraft-{name.replace('_', '-')}"
    if folder.exists():
        raise click.BadParameter(
            f"{folder} exists already; nothing was written.", param_hint="NAME"
        )
    _write(folder, {"name": name, "package": f"redraft_{name}", "dist": folder.name})
    click.echo(f"Made {folder}. Next:\n")
    click.echo(f"  pip install -e {folder}\n  python -m evaluators check {name}")
    click.echo(f"  pytest {folder}")


def _write(folder: Path, values: dict[str, str]) -> None:
    """Write the package, or nothing at all."""
    templates = files("evaluators.cli").joinpath("scaffold")
    try:
        for source, target in FILES.items():
            path = folder / Template(target).substitute(values)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = templates.joinpath(*f"{source}.txt".split("/")).read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(values), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
