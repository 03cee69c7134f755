"""Submitting, cancelling and retrying: what people ask of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from django.conf import settings
from django.db import transaction

from evaluators.errors import BadParameter
from leaderboard.accounts.models import User
from leaderboard.catalog.models import LanguageModel, Suite
from leaderboard.runs.errors import CANCELLED, IllegalMove, QuotaUsedUp, UnknownSuite
from leaderboard.runs.models import Run, Shard, Submission
from leaderboard.runs.services.checking import check_numbers, check_owner, check_role
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.making import (
    BADLY,
    Wanted,
    find_or_make,
    insert,
    installed_version,
    one_at_a_time,
    wanted,
)
from leaderboard.runs.services.transitions import stop


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


def submit(
    *,
    user: User,
    model: LanguageModel,
    suite: Suite,
    evaluators: Sequence[tuple[str, Mapping[str, object]]],
    limit: int | None = None,
    seed: int = 0,
    critic: LanguageModel | None = None,
    judge: LanguageModel | None = None,
    replicates: int = 1,
    controls: bool = False,
    packs: Mapping[str, str] = MappingProxyType({}),
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
        judge: Another model to play the judge, likewise.
        replicates: Trajectories per question.
        controls: Hold each result against its controls, which are run once it has completed.
        packs: Names of prompt packs, by the evaluators that are to ask in their words.

    Raises:
        InputError: Something cannot be; the error says what, and nothing was written.
    """
    check_numbers(limit=limit, seed=seed, replicates=replicates)
    named = {"critic": critic, "judge": judge}
    others = {role: player for role, player in named.items() if player is not None}
    for player in (model, *others.values()):
        check_owner(user, player)
    _check_complete(suite, evaluators)
    submission = Submission(
        user=user,
        model=model,
        suite=suite,
        limit=limit,
        seed=seed,
        critic_model=critic,
        judge_model=judge,
        replicates=replicates,
    )
    versions = [installed_version(name) for name, _ in evaluators]
    for role, player in others.items():
        check_role(role, player, versions)
    asked = [
        wanted(submission, version, params, others=others, pack=packs.get(version.name, ""))
        for version, (_, params) in zip(versions, evaluators, strict=True)
    ]
    return _write(
        submission, list({entry.identity: entry for entry in asked}.values()), controls=controls
    )


def _check_complete(suite: Suite, evaluators: Sequence[object]) -> None:
    """Refuse a suite that is gone, and nothing to run on it.

    Raises:
        UnknownSuite, BadParameter: The one or the other.
    """
    if not suite.current:
        raise UnknownSuite(suite=str(suite))
    if not evaluators:
        raise BadParameter(
            owner="submission", name="evaluators", value=[], reason="choose at least one"
        )


def _write(submission: Submission, asked: Sequence[Wanted], *, controls: bool) -> Submitted:
    actor = f"user:{submission.user_id}"
    with transaction.atomic():
        _check_quota(submission.user)
        submission.save()
        one_at_a_time(submission.model)
        found = [
            find_or_make(submission, entry, actor=actor, with_controls=controls) for entry in asked
        ]
        existing = frozenset(run.pk for run, made in found if not made)
        _ask_for(existing, controls=controls)
        runs = tuple(run for run, _ in found)
        if len(existing) == len(runs):
            submission.delete()
            submission = runs[0].submission
    return Submitted(submission, runs, existing)


def _ask_for(runs: frozenset[int], *, controls: bool) -> None:
    """Have runs that exist be what somebody asked for: no mere controls, and with their own."""
    if controls:
        Run.objects.filter(pk__in=runs, with_controls=False, imported="").update(with_controls=True)
    asked = Run.objects.filter(pk__in=runs, control_only=True)
    waiting = Shard.objects.filter(run__in=asked, priority__lt=0)
    waiting.update(priority=0)
    asked.update(control_only=False)


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
            judge_model_id=run.judge_model_id,
            pack_id=run.pack_id,
            prompts=run.prompts,
            replicates=run.replicates,
            identity=run.identity,
            retry_of=run,
            with_controls=run.with_controls,
            control_only=run.control_only,
            published=run.published,
            oracle=run.evaluator.information == "oracle",
        )
        made = insert(fresh, actor=actor)
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
