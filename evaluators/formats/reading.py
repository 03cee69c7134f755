"""Whatever path somebody names: find the runs in it and read them."""

from __future__ import annotations

from pathlib import Path

from evaluators.errors import BadFile
from evaluators.formats.folder import MANIFEST, read_folder
from evaluators.formats.lm_eval_reading import find_lm_eval, read_lm_eval
from evaluators.formats.stored import StoredRun

DEPTH = 2
"""How many folders deep manifests are looked for: `run --out` makes one folder per evaluator."""


def read_runs(path: Path, *, inspect_python: str | None = None) -> list[StoredRun]:
    """Read every run at a path: ours, lm-eval's, Inspect's or Every Eval Ever's.

    Our own transcripts are taken before the files that other tools read, which say less.

    Args:
        path: A folder, a results file or a log.
        inspect_python: A Python that has inspect-ai, to read `.eval` logs with.

    Raises:
        BadFile: There is none, or one cannot be read; with the line where there is one.
    """
    if not path.exists():
        raise BadFile(path=str(path), line=None, reason="there is no such file or folder")
    if path.suffix == ".eval":
        from evaluators.formats.inspect_logs import read_inspect

        return [read_inspect(path, python=inspect_python)]
    if path.is_file():
        return [_read_file(path)]
    return _read_folder(path, inspect_python)


def read_one(path: Path, *, inspect_python: str | None = None) -> StoredRun:
    """Read the only run at a path.

    Raises:
        BadFile: There are several; the reason names them.
    """
    first, *others = read_runs(path, inspect_python=inspect_python)
    if others:
        names = ", ".join(str(run.source) for run in (first, *others))
        raise BadFile(path=str(path), line=None, reason=f"holds several runs; name one: {names}")
    return first


def _read_file(path: Path) -> StoredRun:
    from evaluators.formats.eee_reading import is_every_eval_ever, read_every_eval_ever

    if path.name == MANIFEST:
        return read_folder(path.parent)
    if path.suffix == ".json":
        return read_every_eval_ever(path) if is_every_eval_ever(path) else read_lm_eval(path)
    reason = "not a folder, a manifest, a results file or a log"
    raise BadFile(path=str(path), line=None, reason=reason)


def _read_folder(path: Path, inspect_python: str | None) -> list[StoredRun]:
    from evaluators.formats.eee_reading import find_every_eval_ever, read_every_eval_ever

    if manifests := _manifests(path):
        return [read_folder(manifest.parent) for manifest in manifests]
    if found := find_lm_eval(path):
        return [read_lm_eval(file) for file in found]
    if logs := sorted(path.rglob("*.eval")):
        from evaluators.formats.inspect_logs import read_inspect

        return [read_inspect(log, python=inspect_python) for log in logs]
    if records := find_every_eval_ever(path):
        return [read_every_eval_ever(record) for record in records]
    reason = f"no results in it: neither {MANIFEST} nor results_*.json nor *.eval"
    raise BadFile(path=str(path), line=None, reason=reason)


def _manifests(path: Path) -> list[Path]:
    patterns = [f"{'*/' * depth}{MANIFEST}" for depth in range(DEPTH + 1)]
    return sorted(found for pattern in patterns for found in path.glob(pattern))
