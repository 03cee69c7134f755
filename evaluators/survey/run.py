"""Runs a survey leg by leg; what is finished stays finished, whatever happens to the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from evaluators.errors import BadFile, BadTask
from evaluators.formats.lines import write_lines
from evaluators.formats.results import plain
from evaluators.registry import EvaluatorCard
from evaluators.session import Report, Watcher, run_plan
from evaluators.survey.calls import CallFile, RememberedModel
from evaluators.survey.legs import Leg, Wanted
from evaluators.survey.rows import Row, rows_of

CALLS = "calls.jsonl"
"""What the model answered."""

SETTINGS = "survey.json"
"""What was asked for: a folder holds one survey."""

Kept = Callable[[Leg, Report, datetime], None]
"""Told of each finished leg, to write its transcripts."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a survey came to."""

    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Why methods were left out, by task and name."""


async def run_survey(
    wanted: Wanted,
    legs: Sequence[Leg],
    cards: Sequence[EvaluatorCard],
    *,
    folder: Path,
    watcher: Watcher | None = None,
    kept: Kept = lambda leg, report, started: None,
) -> Survey:
    """Run all legs that the folder does not hold already.

    A leg is held when it was finished with methods of the same code. One that was interrupted is
    made again from the answers that the model gave before, which are all kept. An optional leg
    whose task cannot be opened is left out.

    Raises:
        BadFile: The folder holds another survey.
        InputError, RuntimeUnavailable: As `run_plan`.
    """
    settings = _settled(folder / SETTINGS, wanted)
    codes = {card.name: card.digest for card in cards}
    rows: list[Row] = []
    skipped = {leg.name: dict(leg.skipped) for leg in legs if leg.skipped}
    for leg in legs:
        path = folder / "legs" / f"{leg.name.replace(':', '.').replace('/', '_')}.json"
        identity = _identity(settings, leg, codes)
        held = _held(path, identity)
        if held is None:
            try:
                held = await _finish(leg, folder / CALLS, watcher, kept)
            except (BadTask, BadFile) as error:
                if not leg.optional:
                    raise
                skipped[leg.name] = {method.name: str(error) for method in leg.plan.methods}
                continue
            told = {"identity": identity, "rows": [row.to_json() for row in held]}
            write_lines(path, [json.dumps(told)])
        rows += held
    return Survey(settings, tuple(rows), skipped)


async def _finish(leg: Leg, calls: Path, watcher: Watcher | None, kept: Kept) -> list[Row]:
    started = datetime.now().astimezone()
    file = CallFile(calls)
    try:
        report = await run_plan(
            leg.plan, watcher, through=lambda model: RememberedModel(model, file)
        )
    finally:
        file.close()
    kept(leg, report, started)
    return list(rows_of(leg, report))


def _settled(path: Path, wanted: Wanted) -> dict[str, Any]:
    """Write down what is asked for, or make sure that it is what was asked for before.

    Raises:
        BadFile: It is something else.
    """
    settings: dict[str, Any] = json.loads(json.dumps(plain(wanted)))
    for name in ("tasks", "critique_tasks"):  # a survey may go on with more tasks
        settings.pop(name)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [name for name in settings if settings[name] != before.get(name)]:
            reason = f"holds a survey with another {', '.join(changed)}; choose another folder"
            raise BadFile(path=str(path.parent), line=None, reason=reason)
    else:
        write_lines(path, [json.dumps(settings, indent=2)])
    return settings


def _identity(settings: Mapping[str, Any], leg: Leg, codes: Mapping[str, str]) -> str:
    methods = [(m.name, codes.get(m.name, ""), m.params) for m in leg.plan.methods]
    put = [plain(task) for task in leg.plan.tasks]
    told = json.dumps([settings, leg.name, put, methods], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def _held(path: Path, identity: str) -> list[Row] | None:
    if not path.exists():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return [Row.from_json(row) for row in told["rows"]] if told["identity"] == identity else None
