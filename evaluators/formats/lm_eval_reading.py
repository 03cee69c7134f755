"""lm-eval's result files, its own of any version and ours, read back as a run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evaluators.errors import BadFile
from evaluators.formats.lines import problem, read_json, read_objects
from evaluators.formats.lm_eval_files import file_name
from evaluators.formats.lm_eval_lines import Line, Reading, to_result
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import SampleResult, Sampling, TaskMode
from evaluators.ports import TaskInfo

EVALUATOR = "lm-eval"
"""What a run of lm-eval's own is called: one answer per question, graded by lm-eval."""

_ROUND = re.compile(r"(?P<task>.+)_round(?P<number>[1-9][0-9]*)")

Numbered = tuple[Path, int, Line]


def find_lm_eval(folder: Path) -> list[Path]:
    """Return the newest results file of every folder below, by path."""
    newest: dict[Path, Path] = {}
    for path in sorted({*folder.rglob("results_*.json"), *folder.rglob("results.json")}):
        newest[path.parent] = path  # they are named after the time
    return [newest[parent] for parent in sorted(newest)]


def read_lm_eval(path: Path) -> StoredRun:
    """Read a results file and the sample files beside it.

    Raises:
        BadFile: A file is missing, cut off or is not lm-eval's; with the line where there is one.
    """
    summary = read_json(path)
    if not isinstance(summary.get("results"), dict):
        raise BadFile(path=str(path), line=None, reason="not lm-eval's: it has no 'results'")
    configs = summary.get("configs") or {}
    names = [name for name in summary["results"] if name in configs or not configs]
    files = {name: _sample_files(path, name) for name in names}
    tasks: dict[str, TaskInfo] = {}
    results: dict[str, tuple[SampleResult, ...]] = {}
    for name, rounds in files.items():
        if not rounds:
            reason = f"no samples of {name!r} beside it; lm-eval writes them with --log_samples"
            raise BadFile(path=str(path), line=None, reason=reason)
        lines = [_lines(file) for file in rounds]
        config = _mapping(configs.get(name))
        mode = _mode(name, lines[-1], config)
        reading = _reading(_full_name(name, mode), lines[-1], summary=summary, name=name)
        tasks[reading.task] = _info(reading, summary, name, mode=mode)
        results[reading.task] = _results(lines, reading)
        _check_count(rounds[-1], summary, name, found=results[reading.task])
    return StoredRun(path, "lm-eval", _run(path, summary), tasks, results)


def _sample_files(path: Path, task: str) -> list[Path]:
    """Return a task's sample files, first round to last; empty where there are none."""
    stamp = path.stem.removeprefix("results").removeprefix("_")
    if not stamp:  # lm-eval before 0.4.3
        return sorted(path.parent.glob(f"*_{_escaped(task)}.jsonl"))[:1]
    earlier: dict[int, Path] = {}
    last: list[Path] = []
    for file in path.parent.glob(f"samples_*_{_escaped(stamp)}.json*"):
        name = file.name.removeprefix("samples_").partition(f"_{stamp}")[0]
        match = _ROUND.fullmatch(name)
        if name in {task, file_name(task)}:
            last.append(file)
        elif match and match["task"] in {task, file_name(task)}:
            earlier[int(match["number"])] = file
    return [*(earlier[number] for number in sorted(earlier)), *last] if last else []


def _escaped(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)


def _lines(path: Path) -> list[Numbered]:
    found = []
    for number, data in _objects(path):
        try:
            found.append((path, number, Line.model_validate(data)))
        except ValidationError as error:
            raise BadFile(path=str(path), line=number, reason=problem(error)) from error
    return found


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield numbered samples: of lines, or of the one list that lm-eval 0.4.3 wrote."""
    if path.suffix == ".jsonl":
        for number, _, data in read_objects(path, constants=True):
            yield number, data
        return
    yield from enumerate(_listed(path), start=1)


def _listed(path: Path) -> list[Mapping[str, Any]]:
    import json

    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadFile(path=str(path), line=None, reason=f"not JSON: {error}") from error
    if not isinstance(data, list):
        raise BadFile(path=str(path), line=None, reason="not a list of samples")
    return data


def _mode(name: str, lines: Sequence[Numbered], config: Mapping[str, Any]) -> TaskMode:
    if name.endswith(":generative"):
        return "generative"
    _, _, line = lines[0]
    asked = config.get("output_type") or ("" if _settings(line) else "multiple_choice")
    return "likelihood" if asked == "multiple_choice" and not _settings(line) else "generate_until"


def _settings(line: Line) -> bool:
    """Tell whether a line's request carries settings of a generation instead of a choice."""
    return any(isinstance(second, Mapping) for _, second in line.requests)


def _full_name(name: str, mode: TaskMode) -> str:
    return f"{name}:likelihood" if mode == "likelihood" else name


def _reading(
    task: str, lines: Sequence[Numbered], *, summary: Mapping[str, Any], name: str
) -> Reading:
    """Choose the primary metric and filter as lm-eval orders them, of those that grade."""
    path, number, line = lines[0]
    better = _mapping(_mapping(summary.get("higher_is_better")).get(name))
    usable = [metric for metric in line.scores if better.get(metric) is not False]
    configured = _mapping(_mapping(summary.get("configs")).get(name)).get("metric_list")
    wanted = [m.get("metric") for m in configured or () if isinstance(m, Mapping)]
    metric = next((str(m) for m in [*wanted, *usable] if m in usable), None)
    if metric is None:
        reason = "it has no metric that is one number per sample and better when higher"
        raise BadFile(path=str(path), line=number, reason=reason)
    return Reading(task, metric, line.filter)


def _results(rounds: Sequence[Sequence[Numbered]], reading: Reading) -> tuple[SampleResult, ...]:
    """Put the rounds' lines together by document; an answer that was carried on counts once."""
    found: dict[tuple[str, int], list[dict[str, Line]]] = defaultdict(list)
    seen: dict[tuple[object, ...], Numbered] = {}
    for number, lines in enumerate(rounds):
        for path, place, line in lines:
            before = seen.setdefault((number, line.key, line.filter), (path, place, line))
            if before[1] != place:
                _check_same(before, (path, place, line))
                continue
            if reading.metric not in line.scores and line.filter == reading.filter:
                reason = f"metric {reading.metric!r} is no number here"
                raise BadFile(path=str(path), line=place, reason=reason)
            states = found[line.key]
            if len(states) <= number:
                states.append({})
            states[-1][line.filter] = line
    return tuple(to_result(_distinct(states), reading) for states in found.values())


def _check_same(before: Numbered, again: Numbered) -> None:
    """lm-eval appends to its sample files: take what was written twice, refuse what differs."""
    path, number, line = again
    if line != before[2]:
        reason = (
            f"document {line.doc_id} stands in line {before[1]} already with another content: "
            "two runs were written into one file"
        )
        raise BadFile(path=str(path), line=number, reason=reason)


def _distinct(states: Sequence[dict[str, Line]]) -> list[dict[str, Line]]:
    """Drop the lines that carry an answer on to later rounds' files: they repeat `prev_correct`.

    A line of ours says in `role` whether the sample really has an answer in that round.
    """
    first, *later = states
    kept = [first]
    for state in later:
        line, previous = next(iter(state.values())), next(iter(kept[-1].values()))
        same = (line.resps, line.arguments, line.role) == (
            previous.resps,
            previous.arguments,
            previous.role,
        )
        if not same:
            kept.append(state)
    return kept


def _check_count(
    path: Path, summary: Mapping[str, Any], name: str, *, found: Sequence[SampleResult]
) -> None:
    counts = _mapping(_mapping(summary.get("n-samples")).get(name))
    expected, documents = counts.get("effective"), len({result.sample.id for result in found})
    if isinstance(expected, int) and documents != expected:
        reason = f"holds {documents} of {expected} documents; it was cut off or added to"
        raise BadFile(path=str(path), line=None, reason=reason)


def _info(reading: Reading, summary: Mapping[str, Any], name: str, *, mode: TaskMode) -> TaskInfo:
    shots = _mapping(summary.get("n-shot")).get(name)
    counts = _mapping(_mapping(summary.get("n-samples")).get(name))
    config = _mapping(summary.get("configs")).get(name)
    return TaskInfo(
        name=reading.task,
        version=str(_mapping(summary.get("versions")).get(name, "")),
        size=int(counts.get("original") or 0),
        sampling=Sampling(),
        metric=reading.metric,
        filter=reading.filter,
        threshold=reading.threshold,
        num_fewshot=shots if isinstance(shots, int) else 0,
        summary="",
        digest="",
        filters=(reading.filter,),
        config=config if isinstance(config, dict) else {},
        mode=mode,
    )


def _run(path: Path, summary: Mapping[str, Any]) -> RunInfo:
    config, ours = _mapping(summary.get("config")), _mapping(summary.get("redraft"))
    args = config.get("model_args")
    version = str(summary.get("lm_eval_version") or "unknown")
    return RunInfo(
        model=str(summary.get("model_name") or config.get("model") or path.parent.name),
        model_source=str(summary.get("model_source") or config.get("model") or ""),
        evaluator=str(ours.get("evaluator") or EVALUATOR),
        evaluator_version=str(ours.get("evaluator_version") or version),
        started=_started(summary.get("date"), path),
        model_args=dict(args) if isinstance(args, Mapping) else {"args": str(args or "")},
        params=_mapping(ours.get("params")),
        prompt_pack=_mapping(ours.get("prompt_pack")),
        model_sha=str(config.get("model_sha") or ""),
        model_dtype=str(config.get("model_dtype") or ""),
        fingerprint=str(ours.get("fingerprint") or ""),
        limit=_limit(config.get("limit")),
        seed=int(config.get("random_seed") or 0),
        chat_template=summary.get("chat_template") or None,
        system_instruction=summary.get("system_instruction") or None,
        git_hash=summary.get("git_hash") or None,
        packages={
            "lm_eval": version,
            "transformers": str(summary.get("transformers_version") or "N/A"),
        },
    )


def _started(date: object, path: Path) -> datetime:
    """Return when the run began, or when its file was written where it does not say."""
    seconds = date if isinstance(date, int | float) else path.stat().st_mtime
    return datetime.fromtimestamp(seconds, tz=UTC)


def _limit(value: object) -> int | None:
    """Return a limit in documents; lm-eval takes shares as well."""
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
