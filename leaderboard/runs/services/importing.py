"""Results from files become runs: written through the same doors, and marked as imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from evaluators.errors import BadFile
from evaluators.formats.folder import run_to_json
from evaluators.formats.results import plain, to_identity
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import SampleResult
from evaluators.tasks import TaskSpec
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, PackVersion, Suite
from leaderboard.catalog.services import clean_label
from leaderboard.runs.models import Run, Shard, State, Submission
from leaderboard.runs.services.claiming import hold
from leaderboard.runs.services.history import write_event
from leaderboard.runs.services.leases import commit_batch, finish, start
from leaderboard.runs.services.making import BADLY
from leaderboard.runs.services.rows import prepare

ACTOR = "import"
"""Who holds the shards while they are written."""

IMPORTED = "imported"
"""Runtime of models, and distribution of evaluators, that this server does not have."""

LONGEST = 200
"""Characters of a sample's id or a task's name."""

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one run's files."""

    run: Run
    made: bool
    """False: the same results were imported before."""


def import_run(stored: StoredRun, *, user: User) -> Imported:
    """Write a run that was evaluated elsewhere, all of it or nothing.

    The run takes the way of every run: shards, an attempt, sealed counts. It stands on the board of
    a suite whose tasks, settings and numbers of samples are exactly its own, else on one made for
    it. Importing the same results again changes nothing.

    Raises:
        BadFile: The results cannot be a run: samples are missing, or wait to be made again.
    """
    shapes = {task: _shape(stored, task) for task in stored.results}
    identity = _identity(stored)
    with transaction.atomic():
        before = Run.objects.exclude(state__in=BADLY).filter(identity=identity).first()
        if before is not None:
            return Imported(before, made=False)
        run = _make(stored, shapes, user=user, identity=identity)
        for task, results in stored.results.items():
            _write(run, stored, task, results)
        run.refresh_from_db()
    return Imported(run, made=True)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How many results of a task there are."""

    questions: tuple[str, ...]
    """Sample ids in order."""
    replicates: int


def _shape(stored: StoredRun, task: str) -> _Shape:
    results = stored.results[task]
    questions = tuple(dict.fromkeys(result.sample.id for result in results))
    replicates = max((result.replicate for result in results), default=0) + 1
    problem = _problem(task, results, wanted=len(questions) * replicates)
    if problem:
        raise BadFile(path=str(stored.source), line=None, reason=f"{task}: {problem}")
    return _Shape(questions, replicates)


def _problem(task: str, results: Sequence[SampleResult], *, wanted: int) -> str:
    if not results:
        return "there are no samples"
    if len(results) != wanted:
        return f"{len(results)} results where questions and replicates make {wanted}"
    if again := sum(result.status == "infra_error" for result in results):
        return f"{again} samples wait to be made again"
    longest = max(len(name) for name in (task, *(result.sample.id for result in results)))
    return f"a name in it has {longest} characters" if longest > LONGEST else ""


def _identity(stored: StoredRun) -> str:
    """Return the sha256 of what makes two imports the same."""
    digest = hashlib.sha256(f"{IMPORTED} {stored.origin}".encode())
    told = {**run_to_json(stored.run), "seconds": 0, "started": ""}
    digest.update(json.dumps(told, sort_keys=True).encode())
    for task, results in sorted(stored.results.items()):
        digest.update(json.dumps([task, stored.tasks[task].digest]).encode())
        for result in results:
            digest.update(json.dumps(to_identity(result), sort_keys=True).encode())
    return digest.hexdigest()


def _make(stored: StoredRun, shapes: Mapping[str, _Shape], *, user: User, identity: str) -> Run:
    """Write submission, run and shards."""
    model, evaluator = _model(stored.run), _evaluator(stored)
    suite, limit = _suite(stored, shapes)
    replicates = {shape.replicates for shape in shapes.values()}
    if len(replicates) > 1:
        reason = "its tasks have different numbers of replicates; import them one by one"
        raise BadFile(path=str(stored.source), line=None, reason=reason)
    asked: dict[str, Any] = {
        "model": model,
        "suite": suite,
        "limit": limit,
        "seed": stored.run.seed,
        "replicates": replicates.pop(),
    }
    submission = Submission.objects.create(user=user, **asked)
    run = Run.objects.create(
        submission=submission,
        evaluator=evaluator,
        params=plain(dict(stored.run.params)),
        **_words(stored.run),
        identity=identity,
        imported=stored.origin,
        **asked,
    )
    Shard.objects.bulk_create(
        Shard(run=run, task=task, size=len(shape.questions), engine_key=model.engine_key)
        for task, shape in shapes.items()
    )
    write_event(run, "", State.QUEUED, actor=f"user:{user.pk}")
    return run


def _write(run: Run, stored: StoredRun, task: str, results: Sequence[SampleResult]) -> None:
    """Write one task's rows as a worker would: under a lease, in batches, then count them."""
    shard = Shard.objects.select_for_update(no_key=True).get(run=run, task=task)
    held = hold(shard, ACTOR)
    start(held, facts=_facts(stored, task))
    places = {name: i for i, name in enumerate(dict.fromkeys(r.sample.id for r in results))}
    for begin in range(0, len(results), _AT_ONCE):
        batch = [
            prepare(result, position=places[result.sample.id])
            for result in results[begin : begin + _AT_ONCE]
        ]
        commit_batch(held, batch)
    finish(held)


def _facts(stored: StoredRun, task: str) -> dict[str, Any]:
    """Return what the manifest says of the task and of where the results were made."""
    info, run = stored.tasks[task], stored.run
    names = ("name", "version", "digest", "size", "metric", "filter", "threshold", "num_fewshot")
    return {
        "task": {**{name: getattr(info, name) for name in names}, "mode": info.mode},
        "runtime": {
            "imported_from": stored.origin,
            "started": run.started.isoformat(),
            "fingerprint": run.fingerprint,
            "versions": dict(run.packages),
            "dtype": run.model_dtype,
            "roles": plain(dict(run.roles)),
        },
    }


def _model(run: RunInfo) -> LanguageModel:
    """Return the model's row, made once: no worker can run it, whatever its name says."""
    told = [IMPORTED, run.model, run.model_source, run.model_sha, run.fingerprint]
    args = plain(dict(run.model_args))
    key = hashlib.sha256(json.dumps([*told, args], sort_keys=True).encode()).hexdigest()
    source = LanguageModel.Source
    row, _ = LanguageModel.objects.get_or_create(
        engine_key=key,
        defaults={
            "label": clean_label(run.model) or IMPORTED,
            "source": source.HUB if run.model.count("/") == 1 else source.LOCAL,
            "location": clean_label(run.model)[:500],
            "revision": run.model_sha[:64],
            "runtime": IMPORTED,
            "model_class": clean_label(run.model_source)[:64] or IMPORTED,
            "args": args,
        },
    )
    return row


def _words(run: RunInfo) -> dict[str, Any]:
    """Return the fields of a run that was asked with other prompts than its method's own."""
    told = dict(run.prompt_pack)
    if not told:
        return {}
    prompts = told.get("prompts")
    prompts = plain(dict(prompts)) if isinstance(prompts, Mapping) else {}
    row, _ = PackVersion.objects.get_or_create(
        name=clean_label(str(told.get("name", "")))[:80] or IMPORTED,
        version=clean_label(str(told.get("version", "")))[:40],
        digest=clean_label(str(told.get("digest", "")))[:64],
        info_parity=told.get("info_parity") is not False,
        problem="",
        defaults={
            "source": clean_label(str(told.get("source", ""))),
            "prompts": prompts,
            "installed": False,
        },
    )
    return {"pack": row, "prompts": prompts}


def _evaluator(stored: StoredRun) -> EvaluatorVersion:
    """Return the evaluator as it is known here by name and version, else a row for the import."""
    run = stored.run
    name, version = clean_label(run.evaluator)[:100], clean_label(run.evaluator_version)[:64]
    known = EvaluatorVersion.objects.filter(name=name, version=version)
    if stored.origin == "redraft" and (found := known.exclude(distribution=IMPORTED).first()):
        return found
    oracle = any(result.oracle for results in stored.results.values() for result in results)
    row, _ = EvaluatorVersion.objects.get_or_create(
        name=name or IMPORTED,
        distribution=IMPORTED,
        version=version,
        digest="oracle" if oracle else "",
        defaults={
            "target": "",
            "installed": False,
            "information": "oracle" if oracle else "intrinsic",
            "summary": f"Imported from files of {stored.origin}",
        },
    )
    return row


def _suite(stored: StoredRun, shapes: Mapping[str, _Shape]) -> tuple[Suite, int | None]:
    """Return the suite that the results belong to, and the limit that they were made under."""
    counts = {task: len(shape.questions) for task, shape in shapes.items()}
    for suite in Suite.objects.filter(current=True).order_by("pk"):
        found = _fits(suite, stored, counts)
        if found is not None:
            return suite, found.limit
    return _own_suite(stored, counts), None


@dataclass(frozen=True, slots=True)
class _Fit:
    """A suite that fits."""

    limit: int | None


def _fits(suite: Suite, stored: StoredRun, counts: Mapping[str, int]) -> _Fit | None:
    """Tell whether a suite's tasks, opened in just this way, are those of the results."""
    planned = {plan.key: plan for plan in suite.planned}
    if planned.keys() != counts.keys():
        return None
    for task, plan in planned.items():
        spec = stored.specs.get(task)
        if spec is None or {**spec.wire(), "mode": None} != {**plan.settings, "mode": None}:
            return None
    whole = {
        task: min(bound for bound in (plan.limit, stored.tasks[task].size) if bound is not None)
        for task, plan in planned.items()
    }
    if whole == counts:
        return _Fit(None)
    (*_, most) = sorted(counts.values())
    return _Fit(most) if counts == {t: min(n, most) for t, n in whole.items()} else None


def _own_suite(stored: StoredRun, counts: Mapping[str, int]) -> Suite:
    """Return the suite of just these tasks, which nobody can submit to."""
    definition = [
        {**(stored.specs.get(task) or TaskSpec.parse(task)).wire(), "limit": count}
        for task, count in counts.items()
    ]
    told = [
        [task, info.digest, info.version, info.metric, info.filter, info.num_fewshot, counts[task]]
        for task, info in stored.tasks.items()
        if task in counts
    ]
    digest = hashlib.sha256(json.dumps([definition, told], sort_keys=True).encode()).hexdigest()
    row, _ = Suite.objects.get_or_create(
        name=f"imported-{slugify('-'.join(counts))}"[:55].rstrip("-") + f"-{digest[:8]}",
        digest=digest,
        defaults={
            "version": IMPORTED,
            "summary": f"Imported from files of {stored.origin}",
            "definition": definition,
            "sizes": {task: stored.tasks[task].size or count for task, count in counts.items()},
            "current": False,
        },
    )
    return row
