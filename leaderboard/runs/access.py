"""Who may see and touch runs: the only doors through which views fetch them."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet
from django.http import Http404

from leaderboard.accounts.models import User
from leaderboard.runs.models import Run, SampleResult, Submission

Visitor = User | AnonymousUser


def visible_runs(user: Visitor) -> QuerySet[Run]:
    """Return the runs a visitor may read: published ones, their own, and all for staff."""
    runs = Run.objects.select_related(
        "model",
        "critic_model",
        "judge_model",
        "suite",
        "evaluator",
        "pack",
        "submission",
        "submission__user",
    )
    if isinstance(user, User) and user.is_staff:
        return runs
    own = Q(submission__user=user) if isinstance(user, User) else Q()
    return runs.filter(Q(published=True) | own)


def access_run(user: Visitor, public_id: str) -> Run:
    """Return a run that the visitor may read.

    Raises:
        Http404: There is none, or it is somebody else's and not published.
    """
    run = visible_runs(user).filter(public_id=public_id).first()
    if run is None:
        raise Http404("There is no such run.")
    return run


def access_own_run(user: Visitor, public_id: str) -> Run:
    """Return a run that the visitor may cancel or retry.

    Raises:
        Http404: There is none, or it is somebody else's: strangers learn nothing from the refusal.
    """
    run = access_run(user, public_id)
    if not may_act(user, run):
        raise Http404("There is no such run of yours.")
    return run


def may_act(user: Visitor, run: Run) -> bool:
    """Tell whether the visitor owns the run or is staff."""
    return isinstance(user, User) and (user.is_staff or run.submission.user_id == user.pk)


def access_submission(user: Visitor, public_id: str) -> tuple[Submission, list[Run]]:
    """Return a submission with those of its runs that the visitor may read.

    Raises:
        Http404: There is none, or none of its runs may be read.
    """
    submission = (
        Submission.objects.select_related("model", "suite", "user")
        .filter(public_id=public_id)
        .first()
    )
    runs = (
        list(visible_runs(user).filter(submission=submission).order_by("id")) if submission else []
    )
    if submission is None or not runs:
        raise Http404("There is no such submission.")
    return submission, runs


def access_result(run: Run, pk: int) -> SampleResult:
    """Return a sample of a run that was reached through `access_run`.

    Raises:
        Http404: The run has no such sample.
    """
    result = SampleResult.objects.filter(run=run, pk=pk).first()
    if result is None:
        raise Http404("There is no such sample in this run.")
    return result
