"""Words and JSON for runs: failures explained, states as the public knows them."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.catalog.models import LanguageModel
from leaderboard.core.messages import message_for
from leaderboard.runs.models import Run, RunControl, State
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.progress import RunStatus

PUBLIC_STATES = {
    State.QUEUED: "pending",
    State.PREPARING: "leased",
    State.RUNNING: "running",
    State.SCORING: "running",
    State.RETRY_WAIT: "retrying",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.QUARANTINED: "failed",
    State.CANCELLED: "cancelled",
}
"""What the outside is told, by internal state."""

FAILED = frozenset(TERMINAL) - {State.COMPLETED}

DELETED = "the control was deleted"
"""Why a control that there was is no more."""

_WHOSE = {
    "yours": "the submitter can mend it",
    "ours": "the people who run this server have to mend it",
    "model": "a property of the model",
    "data": "a property of the task's data",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure in words."""

    id: str
    title: str
    whose: str
    advice: str
    detail: str


def explain(failure_id: str, detail: str) -> Explanation | None:
    """Return the words for a failure; None when there is none."""
    if not failure_id:
        return None
    message = message_for(failure_id)
    return Explanation(
        failure_id, message.title, _WHOSE[message.responsibility], message.advice, detail
    )


def can_cancel(run: Run) -> bool:
    """Tell whether there is still something to stop."""
    return run.state not in TERMINAL and run.cancel_requested_at is None


def can_retry(run: Run) -> bool:
    """Tell whether the run ended without a result."""
    return run.state in TERMINAL and run.state != State.COMPLETED


def awaits_controls(run: Run) -> bool:
    """Tell whether the controls of a run are yet to be made, because it is not done or just is."""
    return run.with_controls and run.controls_made_at is None and run.state not in FAILED


def can_hold(run: Run) -> bool:
    """Tell whether the run may yet be held against controls."""
    wanted = run.with_controls or run.control_only or bool(run.imported)
    return run.state not in FAILED and not wanted and bool(run.evaluator.controls)


def model_json(model: LanguageModel) -> dict[str, object]:
    """Return who a model is, as every answer for machines names it."""
    return {"id": model.public_id, "label": model.label, "commit": model.revision or None}


def players(run: Run) -> list[tuple[str, LanguageModel | None]]:
    """Return who plays the further roles of a run; None is the model itself."""
    played: dict[str, LanguageModel] = {str(role): model for role, model in run.others.items()}
    roles = sorted({*run.evaluator.roles, *played})
    return [(role, played.get(role)) for role in roles]


def control_json(held: RunControl) -> dict[str, object]:
    """Return what a run is held against, or why there is nothing, for machines."""
    control = held.control
    return {
        "kind": held.kind,
        "run": control.public_id if control else None,
        "state": PUBLIC_STATES[State(control.state)] if control else None,
        "reason": None if control else held.reason or DELETED,
        "note": held.note or None,
    }


def run_json(status: RunStatus) -> dict[str, object]:
    """Return a run's status as the public interface gives it."""
    run, progress = status.run, status.progress
    failure = None
    if run.failure_id:
        message = message_for(run.failure_id)
        failure = {
            "id": run.failure_id,
            "responsibility": message.responsibility,
            "title": message.title,
            "advice": message.advice,
            "detail": run.failure_detail,
        }
    return {
        "id": run.public_id,
        "state": PUBLIC_STATES[State(run.state)],
        "progress_pct": None if progress.percent is None else round(progress.percent, 1),
        "progress": {"done": progress.done, "total": progress.total},
        "eta_seconds": None if progress.eta_seconds is None else round(progress.eta_seconds),
        "eta_method": progress.eta_method or None,
        "model": model_json(run.model),
        "critic": model_json(run.critic_model) if run.critic_model else None,
        "judge": model_json(run.judge_model) if run.judge_model else None,
        "evaluator": {
            "name": run.evaluator.name,
            "version": run.evaluator.version,
            "distribution": run.evaluator.distribution,
            "params": run.params,
            "prompts": run.prompt_pack or None,
        },
        "suite": {"name": run.suite.name, "version": run.suite.version},
        "limit": run.limit,
        "seed": run.seed,
        "replicates": run.replicates,
        "shards": [
            {
                "task": shard.task,
                "offset": shard.offset,
                "size": shard.size,
                "planned": planned,
                "done": shard.progress_done,
                "state": shard.state,
            }
            for shard, planned in status.parts
        ],
        "with_controls": run.with_controls,
        "control_only": run.control_only,
        "controls": [control_json(held) for held in status.controls],
        "attempts": len(status.attempts),
        "failure": failure,
        "manifest_sha256": run.manifest_sha256 or None,
        "queued_at": run.queued_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }
