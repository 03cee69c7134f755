"""A built set of solutions as files: tasks to evaluate critique on, and where all of it came from.

In the folder lie, per task that was solved, `critique_<task>.yaml` and `.jsonl` with a line per
solution; `critique_set.toml`, a suite of these tasks with the settings of the runs; and
`manifest.json` with sources, settings and counts.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from evaluators.errors import BadFile, BadTask, GradeError
from evaluators.formats.critique_set import (
    Candidate,
    Drops,
    Pair,
    Question,
    Settings,
    candidates,
    choose,
    drawn,
    generators,
    solutions,
    still_asked,
)
from evaluators.formats.lines import write_lines
from evaluators.formats.lm_eval_files import sanitised
from evaluators.formats.stored import StoredRun
from evaluators.model import Grade, Json
from evaluators.ports import Task
from evaluators.tasks import TaskSpec, open_tasks
from evaluators.tasks.catalogue import Catalogue, read_yaml
from evaluators.tasks.critique_data.built import CLUSTER, FIELDS, read_solutions
from evaluators.tasks.solved import KEY as SOLVED
from evaluators.tasks.solved import reference

MANIFEST = "manifest.json"
SUITE = "critique_set.toml"

_KEPT = ("metric", "filter", "threshold", "max_tokens", "mode", "system_prompt")
"""Settings of the runs under which corrections are to be graded as the solutions were."""

_TAG = "!function "
_DOCUMENTS = f"{_TAG}evaluators.tasks.critique_data.built.documents"


@dataclass(frozen=True, slots=True)
class BuiltSet:
    """What was built."""

    folder: Path
    tasks: Mapping[str, str]
    """Names of the built tasks by the task that was solved."""
    manifest: Mapping[str, Json]


async def build_set(
    runs: Sequence[StoredRun],
    out: Path,
    settings: Settings,
    *,
    include_paths: Sequence[Path] = (),
) -> BuiltSet:
    """Choose solutions from stored results and write them as tasks; all of it or nothing.

    Every solution is graded by its task as it is now, so the tasks must be there.

    Raises:
        BadFile: The folder is in use, or no question gives a pair.
        BadTask, NotInstalled: A task cannot be opened, or cannot be put with a solution.
    """
    _check_free(out)
    specs = _specs(runs)
    folders = [*include_paths, *_folders(runs)]
    drops = Drops()
    async with open_tasks(list(specs.values()), include_paths=folders) as tasks:
        _check_names(specs, tasks, runs)
        asked = {name: await _questions(tasks[name], runs) for name in specs}
        texts = solutions([still_asked(run, asked, drops) for run in runs], drops)
        graded = {q: await _graded(tasks[q.task], q, told, drops) for q, told in texts.items()}
    pairs = choose(graded, settings, drops)
    _check_any(pairs, runs, drops)
    names = sorted({pair.question.task for pair in pairs})
    built = {name: f"critique_{sanitised(specs[name].name)}" for name in names}
    manifest = _manifest(runs, settings, pairs, graded=graded, drops=drops)
    with _whole(out) as part:
        for name, new in built.items():
            original = Catalogue(folders).find(specs[name].name)
            own = [pair for pair in pairs if pair.question.task == name]
            _write_task(part, new, own, original=original, spec=specs[name], asked=asked[name])
        _write_suite(part, {new: specs[name] for name, new in built.items()})
        write_lines(part / MANIFEST, [json.dumps(manifest, indent=2, ensure_ascii=False)])
        await _check(part, built, specs, folders)
    return BuiltSet(out, built, manifest)


def _check_free(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise BadFile(path=str(out), line=None, reason="the folder is not empty")


def _check_names(
    specs: Mapping[str, TaskSpec], tasks: Mapping[str, Task], runs: Sequence[StoredRun]
) -> None:
    missing = [name for name in specs if name not in tasks]
    if missing:
        source = next(run.source for run in runs if missing[0] in run.results)
        reason = f"its task {missing[0]} opens under another name: {', '.join(tasks)}"
        raise BadFile(path=str(source), line=None, reason=reason)


def _check_any(pairs: Sequence[Pair], runs: Sequence[StoredRun], drops: Drops) -> None:
    if not pairs:
        counted = [*drops.questions.values()] or [*drops.candidates.values()]
        reasons = {reason for counts in counted for reason in +counts}
        told = ", ".join(sorted(reasons)) or "there are no answers to choose from"
        reason = f"no question gives a pair: {told}"
        raise BadFile(path=str(runs[0].source), line=None, reason=reason)


def _specs(runs: Sequence[StoredRun]) -> dict[str, TaskSpec]:
    """Return how to open every task, as the first run that solved it did."""
    found: dict[str, TaskSpec] = {}
    for run in runs:
        for name in run.results:
            found.setdefault(name, run.specs.get(name) or TaskSpec.parse(name))
    return found


def _folders(runs: Sequence[StoredRun]) -> list[Path]:
    named = dict.fromkeys(Path(folder) for run in runs for folder in run.include_paths)
    return [folder for folder in named if folder.is_dir()]


async def _questions(task: Task, runs: Sequence[StoredRun]) -> dict[str, str]:
    """Return how every question that was put reads now."""
    name = task.info.name
    wanted = {result.sample.id for run in runs for result in run.results.get(name, ())}
    if not wanted:
        return {}
    if not all(name.isascii() and name.isdigit() for name in wanted):
        reason = "its samples have names of another tool; only its own can be found again"
        raise BadTask(task=task.info.name, reason=reason)
    last = min(task.info.size, max(map(int, wanted)) + 1)
    return {
        sample.id: "\n\n".join(message.content for message in sample.question)
        for sample in await task.samples(last)
    }


async def _graded(
    task: Task, question: Question, texts: Sequence[str], drops: Drops
) -> list[Candidate]:
    grades: list[Grade | None] = []
    for text in texts:
        try:
            grades += await task.grade(question.sample, [text])
        except GradeError:
            grades.append(None)
    return candidates(question.task, texts, grades, drops)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Write into a folder beside the real one, which takes its place when all is well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield part
        part.chmod(0o755)
        if out.exists():
            out.rmdir()
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_task(
    folder: Path,
    name: str,
    pairs: Sequence[Pair],
    *,
    original: Path,
    spec: TaskSpec,
    asked: Mapping[str, str],
) -> None:
    inherited = read_yaml(original)
    if "class" in inherited:
        reason = "is written in Python, and its questions cannot be put with a solution"
        raise BadTask(task=spec.name, reason=reason)
    rows = [
        _row(pair, one, asked[pair.question.sample])
        for pair in pairs
        for one in (pair.right, pair.wrong)
    ]
    rows.sort(key=lambda row: str(row["id"]))  # right and wrong ones mixed, the same everywhere
    write_lines(folder / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    written = spec.mode in (None, "generate_until")
    config: dict[str, object] = {
        SOLVED: reference(spec.name, original, folder),
        "task": name,
        "output_type": inherited.get("output_type", "generate_until"),
        "custom_dataset": _DOCUMENTS,
        "dataset_path": None,
        "dataset_kwargs": {"rows": f"{name}.jsonl", "written": written},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "test",
        "fewshot_config": None,
        "num_fewshot": 0,
        "process_docs": None,
        "metadata": {
            "version": 1,
            "summary": f"Solutions of {spec.name} to be judged, one right and one wrong a question",
            "given": FIELDS,
            "cluster": CLUSTER,
        },
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=10_000)
    text = text.replace(f"'{_DOCUMENTS}'", _DOCUMENTS)
    write_lines(
        folder / f"{name}.yaml", ["# Written by `python -m evaluators critique-set`.", text]
    )


def _row(pair: Pair, one: Candidate, question: str) -> dict[str, Json]:
    return {
        "id": drawn(pair.question.sample, pair.question.generator, one.text)[:16],
        "sample": pair.question.sample,
        "generator": pair.question.generator,
        "question": question,
        "text": one.text,
        "correct": one.correct,
        "answer": one.answer,
        "steps": one.steps,
        "certainty": round(pair.certainty, 6),
        "samples": pair.samples,
    }


def _write_suite(folder: Path, specs: Mapping[str, TaskSpec]) -> None:
    lines = [
        'name = "critique_set"', 'version = "1"',
        'summary = "Solutions chosen from results, to be judged and corrected"',
    ]  # fmt: skip
    for name, spec in specs.items():
        lines += ["", "[[tasks]]", f"name = {json.dumps(name)}"]
        settings = {key: getattr(spec, key) for key in _KEPT}
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in settings.items() if value is not None
        ]
    write_lines(folder / SUITE, lines)


def _manifest(
    runs: Sequence[StoredRun],
    settings: Settings,
    pairs: Sequence[Pair],
    *,
    graded: Mapping[Question, Sequence[Candidate]],
    drops: Drops,
) -> dict[str, Json]:
    sources: list[Json] = [
        {
            "path": str(run.source), "generator": name, "fingerprint": run.run.fingerprint,
            "evaluator": run.run.evaluator, "evaluator_version": run.run.evaluator_version,
            "tasks": {
                task: {"digest": run.tasks[task].digest, "results": len(results)}
                for task, results in run.results.items()
            },
        }
        for run, name in zip(runs, generators(runs), strict=True)
    ]  # fmt: skip
    tasks = {question.task for question in graded} | drops.candidates.keys()
    return {
        "format": "redraft-critique-set",
        "version": 1,
        "written_by": f"redraft {version('redraft')}",
        "procedure": "Luo et al. 2023, arXiv 2310.04815; certainty = ln(f1/f2)",
        "settings": asdict(settings),
        "sources": sources,
        "tasks": {task: _counts(task, pairs, graded, drops) for task in sorted(tasks)},
    }


def _counts(
    task: str,
    pairs: Sequence[Pair],
    graded: Mapping[Question, Sequence[Candidate]],
    drops: Drops,
) -> dict[str, Json]:
    questions = [question for question in graded if question.task == task]
    kept = [pair for pair in pairs if pair.question.task == task]
    names = sorted({question.generator for question in questions})
    return {
        "candidates": sum(len(graded[question]) for question in questions),
        "questions": len(questions),
        "pairs": len(kept),
        "pairs_by_generator": {
            name: sum(pair.question.generator == name for pair in kept) for name in names
        },
        "dropped_candidates": dict(sorted((+drops.candidates[task]).items())),
        "dropped_questions": dict(sorted((+drops.questions[task]).items())),
    }


async def _check(
    folder: Path,
    built: Mapping[str, str],
    specs: Mapping[str, TaskSpec],
    folders: Sequence[Path],
) -> None:
    """Open the tasks that were written: they must ask and grade as the ones that were solved."""
    opened = [
        TaskSpec(new, **{key: getattr(specs[name], key) for key in _KEPT})
        for name, new in built.items()
    ]
    async with open_tasks(opened, include_paths=[folder, *folders]) as tasks:
        for spec, task in zip(opened, tasks.values(), strict=True):
            rows = read_solutions(folder / f"{spec.name}.jsonl")
            for row, sample in zip(rows, await task.samples(), strict=True):
                asked = "\n\n".join(message.content for message in sample.question)
                given = sample.given.text if sample.given else ""
                (grade,) = await task.grade(sample.id, [given])
                if (asked, grade.correct) != (row["question"], row["correct"]):
                    reason = f"asks or grades question {row['sample']} otherwise with a solution"
                    raise BadTask(task=spec.name, reason=reason)
