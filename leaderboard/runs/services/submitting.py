"""Submitting, cancelling and retrying: what people ask of the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from evaluators.errors import BadParameter, BrokenPlugin, NotInstalled
from evaluators.registry import load_evaluator
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.runs.errors import CANCELLED, IllegalMove, QuotaUsedUp, UnknownSuite
from leaderboard.runs.hardware import hardware_of, together
from leaderboard.runs.models import Run, Shard, State, Submission
from leaderboard.runs.services.checking import (
    check_capabilities,
    check_critic,
    check_modes,
    check_numbers,
    check_owner,
)
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.history import write_event
from leaderboard.runs.services.transitions import stop
from leaderboard.runs.tuning import tuning

BADLY = (State.FAILED, State.QUARANTINED, State.CANCELLED)
"""States after which the same may be asked for again."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission led to."""

    submission: Submission
    """The new one; when nothing was new, that of the first run that exists."""
    runs: tuple[Run, ...]
    """A run per evaluator, in the order in which they were asked for."""
    existing: frozenset[int]
    """Keys of the runs among them that were there before."""

    @property
    def created(self) -> tuple[Run, ...]:
        """The runs that this submission made."""
        return tuple(run for run in self.runs if run.pk not in self.existing)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One evaluator with all its parameters."""

    evaluator: EvaluatorVersion
    params: Mapping[str, Any]
    critic: LanguageModel | None
    """Who plays its critic, where that is another model."""
    identity: str


def submit(
    *,
    user: User,
    model: LanguageModel,
    suite: Suite,
    evaluators: Sequence[tuple[str, Mapping[str, object]]],
    limit: int | None = None,
    seed: int = 0,
    critic: LanguageModel | None = None,
    replicates: int = 1,
) -> Submitted:
    """Check what is asked for and write it down, all or nothing.

    A run that exists and has not ended badly is returned instead of being made twice.

    Args:
        user: Who asks.
        model: What to evaluate.
        suite: On what; must be installed.
        evaluators: Names with parameters; defaults are filled in.
        limit: Samples per task; None takes the suite's own limits.
        seed: Root of all seeds.
        critic: Another model to play the critic, for those of the evaluators that have one.
        replicates: Trajectories per question.

    Raises:
        InputError: Something cannot be; the error says what, and nothing was written.
    """
    check_numbers(limit=limit, seed=seed, replicates=replicates)
    for player in (model, *([critic] if critic else [])):
        check_owner(user, player)
    if not suite.current:
        raise UnknownSuite(suite=str(suite))
    if not evaluators:
        raise BadParameter(
            owner="submission", name="evaluators", value=[], reason="choose at least one"
        )
    submission = Submission(
        user=user,
        model=model,
        suite=suite,
        limit=limit,
        seed=seed,
        critic_model=critic,
        replicates=replicates,
    )
    versions = [_installed(name) for name, _ in evaluators]
    check_critic(critic, versions)
    wanted = [
        _wanted(submission, version, params)
        for version, (_, params) in zip(versions, evaluators, strict=True)
    ]
    return _write(submission, list({entry.identity: entry for entry in wanted}.values()))


def _write(submission: Submission, wanted: Sequence[_Wanted]) -> Submitted:
    with transaction.atomic():
        _check_quota(submission.user)
        submission.save()
        found = [_find_or_make(submission, entry) for entry in wanted]
        existing = frozenset(run.pk for run, made in found if not made)
        runs = tuple(run for run, _ in found)
        if len(existing) == len(runs):
            submission.delete()
            submission = runs[0].submission
    return Submitted(submission, runs, existing)


def cancel(*, run: Run, actor: str) -> Run:
    """Ask for a run to end; what a worker holds of it ends within seconds.

    A run that has ended stays as it is.
    """
    stop(run.pk, actor=actor, failure=CANCELLED)
    run.refresh_from_db()
    return run


def retry(*, run: Run, actor: str) -> Run:
    """Make a new run that goes on from the scored samples of one that ended badly.

    An equal run that is under way or complete is returned instead of being made twice.

    Raises:
        IllegalMove: The run has not ended badly.
    """
    from leaderboard.runs.services.copying import copy_results

    if run.state not in BADLY:
        raise IllegalMove(shard=None, before=run.state, after="retry")
    with transaction.atomic():
        fresh = Run(
            submission_id=run.submission_id,
            model_id=run.model_id,
            suite_id=run.suite_id,
            evaluator_id=run.evaluator_id,
            params=run.params,
            limit=run.limit,
            seed=run.seed,
            critic_model_id=run.critic_model_id,
            replicates=run.replicates,
            identity=run.identity,
            retry_of=run,
            oracle=run.evaluator.information == "oracle",
        )
        made = _insert(fresh, actor=actor)
        if made is None:
            return Run.objects.exclude(state__in=BADLY).get(identity=run.identity)
        copy_results(run, made)
    return made


def _check_quota(user: User) -> None:
    most = getattr(settings, "REDRAFT_SUBMISSIONS_PER_DAY", 0)
    if not most:
        return
    # One at a time per user, or two at once would both be the last one allowed.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    since = ClockTimestamp() - timedelta(days=1)
    if Submission.objects.filter(user=user, created_at__gt=since).count() >= most:
        raise QuotaUsedUp(limit=most)


def _wanted(
    submission: Submission, version: EvaluatorVersion, params: Mapping[str, object]
) -> _Wanted:
    actor, critic = submission.model, submission.critic_model
    if critic is not None and (
        "critic" not in version.roles or critic.engine_key == actor.engine_key
    ):
        critic = None
    check_modes(version, submission.suite)
    check_capabilities(version, actor=actor, critic=critic)
    bound = load_evaluator(version.name).bind(params)
    return _Wanted(version, bound, critic, _identity(submission, version, bound, critic=critic))


def _installed(name: str) -> EvaluatorVersion:
    known = EvaluatorVersion.objects.filter(installed=True)
    version = known.filter(name=name).first()
    if version is None:
        raise NotInstalled.among("evaluator", name, known.values_list("name", flat=True))
    if version.problem:
        raise BrokenPlugin(
            kind="evaluator", name=name, distribution=version.distribution, reason=version.problem
        )
    return version


def _identity(
    submission: Submission,
    version: EvaluatorVersion,
    params: Mapping[str, Any],
    *,
    critic: LanguageModel | None,
) -> str:
    """Return the sha256 of all that makes two runs the same run."""
    parts = {
        "model": submission.model.engine_key,
        "suite": submission.suite.digest,
        "evaluator": [version.name, version.distribution, version.version, version.digest],
        "params": params,
        "limit": submission.limit,
        "seed": submission.seed,
    }
    # Only where they are used: runs of releases without them stay the same runs.
    if critic is not None:
        parts["critic"] = critic.engine_key
    if submission.replicates > 1:
        parts["replicates"] = submission.replicates
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _find_or_make(submission: Submission, wanted: _Wanted) -> tuple[Run, bool]:
    """Return the run, and whether it was made just now."""
    alive = Run.objects.exclude(state__in=BADLY).select_related("submission")
    found = alive.filter(identity=wanted.identity).first()
    if found is not None:
        return found, False
    made = _insert(
        Run(
            submission=submission,
            model_id=submission.model_id,
            suite_id=submission.suite_id,
            evaluator=wanted.evaluator,
            params=dict(wanted.params),
            limit=submission.limit,
            seed=submission.seed,
            critic_model=wanted.critic,
            replicates=submission.replicates,
            identity=wanted.identity,
            oracle=wanted.evaluator.information == "oracle",
        ),
        actor=f"user:{submission.user_id}",
    )
    return (made, True) if made is not None else (alive.get(identity=wanted.identity), False)


def _insert(run: Run, *, actor: str) -> Run | None:
    """Write a run with its shards and first event; None when an equal one was there first."""
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError:
        return None
    run.refresh_from_db()
    hardware = hardware_for(run.model, run.critic_model)
    Shard.objects.bulk_create(
        Shard(
            run=run,
            task=task,
            offset=offset,
            size=size,
            hardware=hardware,
            engine_key=run.model.engine_key,
        )
        for task, offset, size in _plan(run.suite, run.limit)
    )
    write_event(run, "", State.QUEUED, actor=actor)
    return run


def hardware_for(model: LanguageModel, critic: LanguageModel | None) -> str:
    """Return the hardware that a run needs, with its critic if that is another model."""
    own = hardware_of(model.runtime, model.args)
    return own if critic is None else together(own, hardware_of(critic.runtime, critic.args))


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
