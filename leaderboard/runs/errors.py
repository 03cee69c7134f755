"""What goes wrong with a run, as message ids; library errors are mapped to them here, once."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.errors import (
    AmbiguousName,
    BadModel,
    BadParameter,
    BadTask,
    BrokenPlugin,
    InputError,
    NotInstalled,
    OutOfResources,
    RedraftError,
    RunAborted,
    RuntimeUnavailable,
)
from leaderboard.catalog.keys import KeyMissing
from leaderboard.catalog.packs import PromptsDiffer

DETAIL_LENGTH = 2000
"""Characters of a reason that are kept."""


class Fenced(RunAborted):
    """Another worker holds the shard, or nobody: this one may not write any more.

    Args (as data): shard, fence.
    """

    id = "fenced-off"


class IllegalMove(RedraftError):
    """A state was to change in a way that states do not change: a fault of ours.

    Args (as data): shard, before, after.
    """

    id = "illegal-move"


class MissingCapability(BadModel):
    """The model or its runtime cannot do what the evaluator needs.

    Args (as data): model, reason, missing.
    """

    id = "missing-capability"


class QuotaUsedUp(InputError):
    """The user has submitted as often as one may in a day.

    Args (as data): limit.
    """

    id = "quota-used-up"

    def __str__(self) -> str:
        """Say how many submissions a day are allowed."""
        return f"{self.data['limit']} submissions in 24 hours are allowed, and they are used up."


class UnknownSuite(InputError):
    """The suite is not installed in this version any more.

    Args (as data): suite.
    """

    id = "unknown-suite"

    def __str__(self) -> str:
        """Name the suite."""
        return f"The suite {self.data['suite']} is not installed any more."


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or shard stands where it stands."""

    id: str
    """Key of the message registry."""
    detail: str = ""
    """One line of particulars."""


CANCELLED = Failure("run:user:cancelled")
DRAINED = Failure("run:app:drained")
LOST = Failure("run:app:worker-lost")


def failure_of(error: BaseException) -> Failure:
    """Return the message id and the particulars of what was raised."""
    return Failure(_message_id(error), _one_line(error))


def _message_id(error: BaseException) -> str:  # noqa: C901, PLR0911, PLR0912 - one table of all errors
    match error:
        case MissingCapability(data={"missing": ["chat"]}):
            return "run:user:no-chat-template"
        case MissingCapability():
            return "run:user:capability-missing"
        case OutOfResources():
            return "run:app:out-of-memory"
        case KeyMissing():
            return "run:user:endpoint-key-missing"
        case BadModel(data={"denied": True}):
            return "run:user:endpoint-denied"
        case BadModel(data={"status": 401 | 403}):
            return "run:user:endpoint-unauthorised"
        case BadModel() | NotInstalled(data={"kind": "runtime"}):
            return "run:user:model-unusable"
        case BadTask() | NotInstalled(data={"kind": "task"}):
            return "run:user:task-unusable"
        case UnknownSuite() | NotInstalled(data={"kind": "suite"}):
            return "run:user:suite-missing"
        case NotInstalled():
            return "run:user:evaluator-missing"
        case AmbiguousName():
            return "run:user:evaluator-ambiguous"
        case BrokenPlugin():
            return "run:user:evaluator-broken"
        case BadParameter():
            return "run:user:bad-parameter"
        case QuotaUsedUp():
            return "submit:user:quota"
        case RuntimeUnavailable():
            return "run:app:runtime-died"
        case PromptsDiffer():
            return "run:app:prompts-differ"
        case _:
            return "run:app:internal"


def _one_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, InputError) else ""
    if not text and isinstance(error, RedraftError):
        text = str(error.data.get("reason") or error)
    text = text or f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:DETAIL_LENGTH]
