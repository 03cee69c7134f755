"""A run as we keep it: a manifest, and a transcript of every sample that restores it exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from evaluators.controls import HeldAgainst
from evaluators.errors import BadFile
from evaluators.formats.lines import read_json, write_lines
from evaluators.formats.lm_eval_files import sanitised
from evaluators.formats.results import plain, read_results, restore, write_results
from evaluators.formats.stored import Origin, RunInfo, StoredRun
from evaluators.model import Json, SampleResult
from evaluators.ports import TaskInfo
from evaluators.tasks.spec import TaskSpec

MANIFEST = "manifest.json"
"""What was evaluated, how, and which transcripts there are."""

FORMAT = "redraft-run"
VERSION = 1


@dataclass(frozen=True, slots=True)
class _Part:
    """One task of a manifest."""

    info: TaskInfo
    transcripts: str
    """Name of the file beside the manifest."""
    samples: int
    """How many lines it has, so that a file that was cut off is noticed."""
    spec: TaskSpec | None = None


def write_folder(folder: Path, stored: StoredRun) -> Iterator[Path]:
    """Write transcripts, then the manifest, and yield the paths as they are written."""
    for task, results in stored.results.items():
        yield write_results(folder / transcripts_name(task), results)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"redraft {version('redraft')}",
        "origin": stored.origin,
        "run": run_to_json(stored.run),
        "include_paths": list(stored.include_paths),
        "tasks": {name: plain(_part(stored, name)) for name in stored.results},
        "controls": {task: list(map(plain, held)) for task, held in stored.controls.items()},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    yield write_lines(folder / MANIFEST, [text])


def read_folder(folder: Path) -> StoredRun:
    """Read a run back.

    Raises:
        BadFile: The manifest or a transcript is missing, cut off or not ours; with the line.
    """
    path = folder / MANIFEST
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise BadFile(path=str(path), line=None, reason=f"not a manifest of ours: no {FORMAT!r}")
    if manifest.get("version") != VERSION:
        reason = f"written in version {manifest.get('version')!r} of the format; known is {VERSION}"
        raise BadFile(path=str(path), line=None, reason=reason)
    try:
        run, parts = _parsed(manifest)
        controls = _controls(manifest)
        (origin,) = (one for one in get_args(Origin) if one == manifest.get("origin"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(path=str(path), line=None, reason=_words(error)) from error
    return StoredRun(
        source=folder,
        origin=origin,
        run=run,
        tasks={name: part.info for name, part in parts.items()},
        results={name: _results(folder, name, part) for name, part in parts.items()},
        specs={name: part.spec for name, part in parts.items() if part.spec},
        include_paths=tuple(str(item) for item in manifest.get("include_paths", ())),
        controls=controls,
    )


def transcripts_name(task: str) -> str:
    """Return the file name of a task's transcripts; the mode stays in it."""
    return f"transcripts_{sanitised(task)}.jsonl"


def _part(stored: StoredRun, task: str) -> _Part:
    return _Part(
        info=stored.tasks[task],
        transcripts=transcripts_name(task),
        samples=len(stored.results[task]),
        spec=stored.specs.get(task),
    )


def run_to_json(run: RunInfo) -> dict[str, Json]:
    """Return what is said of a run as plain JSON."""
    told = {f.name: plain(getattr(run, f.name)) for f in fields(run) if f.name != "started"}
    return told | {"started": run.started.isoformat()}


def run_from_json(data: Mapping[str, Any]) -> RunInfo:
    """Restore what is said of a run.

    Raises:
        ValueError: It is not that; the message says where.
        KeyError: It does not say when the run was started.
    """
    started = datetime.fromisoformat(data["started"])
    plain_time = json.dumps({**data, "started": "2000-01-01T00:00:00Z"})
    return replace(restore(RunInfo, plain_time), started=started)


def _parsed(manifest: Mapping[str, Any]) -> tuple[RunInfo, dict[str, _Part]]:
    parts = {
        name: restore(_Part, json.dumps(part)) for name, part in dict(manifest["tasks"]).items()
    }
    return run_from_json(manifest["run"]), parts


def _controls(manifest: Mapping[str, Any]) -> dict[str, tuple[HeldAgainst, ...]]:
    """Restore what the results are held against; older manifests say nothing of it."""
    return {
        task: tuple(restore(HeldAgainst, json.dumps(one)) for one in held)
        for task, held in dict(manifest.get("controls", {})).items()
    }


def _results(folder: Path, task: str, part: _Part) -> tuple[SampleResult, ...]:
    path = folder / Path(part.transcripts).name
    results = tuple(_checked(path, task, read_results(path))) if part.samples else ()
    if len(results) != part.samples:
        reason = f"holds {len(results)} of {part.samples} samples; it was cut off or added to"
        raise BadFile(path=str(path), line=len(results), reason=reason)
    return results


def _checked(path: Path, task: str, results: Iterable[SampleResult]) -> Iterator[SampleResult]:
    seen: set[tuple[str, int]] = set()
    for number, result in enumerate(results, start=1):
        key = (result.sample.id, result.replicate)
        if result.sample.task != task:
            reason = f"a sample of {result.sample.task!r} among those of {task!r}"
            raise BadFile(path=str(path), line=number, reason=reason)
        if key in seen:
            reason = f"the sample {result.sample.id!r} stands there twice"
            raise BadFile(path=str(path), line=number, reason=reason)
        seen.add(key)
        yield result


def _words(error: Exception) -> str:
    return f"no {error} in it" if isinstance(error, KeyError) else str(error) or "not a manifest"
