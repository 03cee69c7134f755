"""Runs in the making: what makes two of them the same, and writing one with its shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connection, transaction

from evaluators.cards import pack_for
from evaluators.errors import BadParameter, BrokenPlugin, NotInstalled
from evaluators.evaluator import Evaluator
from evaluators.registry import load_evaluator
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, PackVersion, Suite
from leaderboard.catalog.packs import chosen_pack
from leaderboard.runs.hardware import hardware_of, together
from leaderboard.runs.models import Run, RunControl, Shard, State, Submission
from leaderboard.runs.services.checking import check_capabilities, check_modes
from leaderboard.runs.services.history import write_event
from leaderboard.runs.tuning import tuning

BADLY = (State.FAILED, State.QUARANTINED, State.CANCELLED)
"""States after which the same may be asked for again."""

CONTROL_PRIORITY = -10
"""Of the shards of controls: whatever people asked for goes first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One evaluator with all its parameters."""

    evaluator: EvaluatorVersion
    params: Mapping[str, Any]
    others: Mapping[str, LanguageModel]
    """Who plays its further roles, where that is another model."""
    identity: str
    pack: PackVersion | None = None
    """Whose prompts stand in for its own."""
    prompts: Mapping[str, Any] = field(default_factory=dict)
    """Their hashes, by the prompts that they stand in for."""


def wanted(
    submission: Submission,
    version: EvaluatorVersion,
    params: Mapping[str, object],
    *,
    others: Mapping[str, LanguageModel],
    pack: str = "",
) -> Wanted:
    """Check one evaluator against a submission and say which run that makes.

    Args:
        submission: The model, the suite and how much of it; need not be stored yet.
        version: As `installed_version` returns it.
        params: Defaults are filled in.
        others: Models for further roles; those that the evaluator does not have are left out.
        pack: Name of the prompt pack to ask with; empty asks in the method's own words.

    Raises:
        InputError: The evaluator cannot be run in this way.
    """
    actor = submission.model
    played = {
        role: model
        for role, model in others.items()
        if role in version.roles and model.engine_key != actor.engine_key
    }
    check_modes(version, submission.suite)
    check_capabilities(version, actor=actor, others=played)
    evaluator = load_evaluator(version.name)
    bound = evaluator.bind(params)
    row, prompts = _stand_ins(evaluator, pack) if pack else (None, {})
    identity = _identity(submission, version, bound, others=played, pack=row)
    return Wanted(version, bound, played, identity, row, prompts)


def _stand_ins(evaluator: Evaluator, name: str) -> tuple[PackVersion, Mapping[str, Any]]:
    """Return a prompt pack and the hashes of what it has for a method.

    Raises:
        NotInstalled: There is no such pack.
        BadParameter: It cannot be read as it was recorded, or has nothing for the method.
    """
    row, pack = chosen_pack(name)
    told = pack_for(pack, [evaluator]).to_json()["prompts"]
    if not isinstance(told, dict) or not told:
        reason = f"it stands in for no prompt of {evaluator.name}"
        raise BadParameter(owner="prompts", name=evaluator.name, value=name, reason=reason)
    return row, told


def installed_version(name: str) -> EvaluatorVersion:
    """Return an evaluator as it is installed now.

    Raises:
        NotInstalled: It is not.
        BrokenPlugin: It is, and cannot be used.
    """
    known = EvaluatorVersion.objects.filter(installed=True)
    version = known.filter(name=name).first()
    if version is None:
        raise NotInstalled.among("evaluator", name, known.values_list("name", flat=True))
    if version.problem:
        raise BrokenPlugin(
            kind="evaluator", name=name, distribution=version.distribution, reason=version.problem
        )
    return version


def one_at_a_time(model: LanguageModel) -> None:
    """Make those who write several runs of one model wait for one another.

    Each takes hold of identities one by one, and two that do so in different orders would wait for
    each other for ever.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('redraft runs of'), %s)", [model.pk])


def find_or_make(
    submission: Submission, asked: Wanted, *, actor: str, **fields: Any
) -> tuple[Run, bool]:
    """Return the run, and whether it was made just now.

    Args:
        submission: What a new run belongs to; it is of its model, on its suite.
        asked: The evaluator.
        actor: Who makes it.
        fields: Further fields of a new run.
    """
    alive = Run.objects.exclude(state__in=BADLY).select_related("submission")
    found = alive.filter(identity=asked.identity).first()
    if found is not None:
        return found, False
    made = insert(
        Run(
            submission=submission,
            model_id=submission.model_id,
            suite_id=submission.suite_id,
            evaluator=asked.evaluator,
            params=dict(asked.params),
            limit=submission.limit,
            seed=submission.seed,
            critic_model=asked.others.get("critic"),
            judge_model=asked.others.get("judge"),
            pack=asked.pack,
            prompts=dict(asked.prompts),
            replicates=submission.replicates,
            identity=asked.identity,
            oracle=asked.evaluator.information == "oracle",
            **fields,
        ),
        actor=actor,
    )
    return (made, True) if made is not None else (alive.get(identity=asked.identity), False)


def insert(run: Run, *, actor: str) -> Run | None:
    """Write a run with its shards and first event; None when an equal one was there first."""
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError:
        return None
    run.refresh_from_db()
    hardware = hardware_for(run.model, *run.others.values())
    Shard.objects.bulk_create(
        Shard(
            run=run,
            task=task,
            offset=offset,
            size=size,
            hardware=hardware,
            engine_key=run.model.engine_key,
            priority=priority_of(run),
        )
        for task, offset, size in _plan(run.suite, run.limit)
    )
    write_event(run, "", State.QUEUED, actor=actor)
    # What was held against an equal run that ended badly is held against this one from now on.
    failed = Run.objects.filter(identity=run.identity, state__in=BADLY)
    RunControl.objects.filter(control__in=failed).update(control=run)
    return run


def priority_of(run: Run) -> int:
    """Return the priority of a run's shards: controls wait for what people asked for."""
    return CONTROL_PRIORITY if run.control_only else 0


def hardware_for(model: LanguageModel, *others: LanguageModel) -> str:
    """Return the hardware that a run needs, with the other models that play in it."""
    found = hardware_of(model.runtime, model.args)
    for other in others:
        found = together(found, hardware_of(other.runtime, other.args))
    return found


def _identity(
    submission: Submission,
    version: EvaluatorVersion,
    params: Mapping[str, Any],
    *,
    others: Mapping[str, LanguageModel],
    pack: PackVersion | None,
) -> str:
    """Return the sha256 of all that makes two runs the same run."""
    parts: dict[str, Any] = {
        "model": submission.model.engine_key,
        "suite": submission.suite.digest,
        "evaluator": [version.name, version.distribution, version.version, version.digest],
        "params": params,
        "limit": submission.limit,
        "seed": submission.seed,
    }
    # Only where they are used: runs of releases without them stay the same runs.
    parts |= {role: model.engine_key for role, model in others.items()}
    if submission.replicates > 1:
        parts["replicates"] = submission.replicates
    if pack is not None:
        parts["prompts"] = [pack.name, pack.version, pack.digest, pack.info_parity]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _plan(suite: Suite, limit: int | None) -> Iterable[tuple[str, int, int | None]]:
    """Yield task, offset and size of every shard; the size is None until a task was loaded once."""
    longest = tuning().slice_samples
    for plan in suite.planned:
        if plan.size is None:
            yield plan.key, 0, None
            continue
        bounds = (limit, plan.limit, plan.size)
        planned = min(bound for bound in bounds if bound is not None)
        for offset in range(0, planned, longest):
            yield plan.key, offset, min(longest, planned - offset)
