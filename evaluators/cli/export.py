"""`export` and `import`: results between our folders and the files of other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluators.errors import BadFile

if TYPE_CHECKING:
    from evaluators.controls import HeldAgainst
    from evaluators.formats.stored import StoredRun

OURS = "redraft"

FORMATS = ("lm-eval", "inspect", "eee", "hub", OURS)


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", required=True, type=click.Choice(FORMATS), help="Whose files to write.")
@click.option("--inspect-python", help="A Python that has inspect-ai, for .eval logs.")
def export(path: Path, out: Path, *, to: str, inspect_python: str | None) -> None:
    """Write the results in PATH to the folder OUT as another tool writes them.

    PATH is what `run --out` wrote, or any results that `import` reads. Formats: lm-eval's results
    and samples, Inspect's .eval logs, Every Eval Ever 0.3.0 (eee), Hugging Face's .eval_results
    (hub), and our own folders (redraft).
    """
    from evaluators.formats.reading import read_runs

    _write(read_runs(path, inspect_python=inspect_python), out, to, python=inspect_python)


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--inspect-python", help="A Python that has inspect-ai, to read .eval logs with.")
def import_results(path: Path, out: Path, *, inspect_python: str | None) -> None:
    """Read results of lm-eval, Inspect or Every Eval Ever in PATH into a folder OUT of ours.

    `score`, `compare` and the server's `import_results` take the folder. Only what the files say is
    kept: costs that nobody recorded stay unknown.
    """
    from evaluators.formats.reading import read_runs

    _write(read_runs(path, inspect_python=inspect_python), out, OURS, python=None)


def _write(runs: Sequence[StoredRun], out: Path, to: str, *, python: str | None) -> None:
    """Write all runs, or none where one of our own folders is another's."""
    if to == OURS:
        for run in runs:
            _check_free(out / _folder(run.run.name, run), run)
    _tell(chain.from_iterable(_written(run, out, to, python=python) for run in runs))


def _written(run: StoredRun, out: Path, to: str, *, python: str | None) -> Iterator[Path]:
    from evaluators.formats.eee import write_every_eval_ever
    from evaluators.formats.folder import write_folder
    from evaluators.formats.hub import write_hub
    from evaluators.formats.inspect_logs import write_inspect
    from evaluators.formats.lm_eval_files import sanitised, write_lm_eval

    match to:
        case "lm-eval":
            results = chain.from_iterable(run.results.values())
            folder = out / sanitised(run.run.name)
            yield from write_lm_eval(folder, results, tasks=run.tasks, run=run.run)
        case "inspect":
            yield from write_inspect(out, run, python=python)
        case "eee":
            yield from write_every_eval_ever(out, run)
        case "hub":
            yield from write_hub(out, run)
        case _:
            yield from write_folder(*_moved(run, out))


def _folder(name: str, run: StoredRun) -> str:
    from evaluators.formats.lm_eval_files import sanitised

    return sanitised(f"{name}-{run.run.model}")


def _moved(run: StoredRun, out: Path) -> tuple[Path, StoredRun]:
    """Return the run's new folder and the run in it, its controls' folders beside it."""

    def moved(held: HeldAgainst) -> HeldAgainst:
        name = Path(held.run).name
        return replace(held, run=f"../{_folder(name, run)}") if held.run else held

    controls = {task: tuple(map(moved, held)) for task, held in run.controls.items()}
    folder = out / _folder(run.run.name, run)
    return folder, replace(run, source=folder, controls=controls)


def _check_free(folder: Path, run: StoredRun) -> None:
    """Refuse to write another run over one that is there."""
    from evaluators.formats.folder import MANIFEST, read_folder

    if (folder / MANIFEST).exists() and read_folder(folder).run.started != run.run.started:
        raise BadFile(path=str(folder), line=None, reason="another run is there already")


def _tell(paths: Iterator[Path]) -> None:
    for path in paths:
        click.echo(f"wrote {path}", err=True)
