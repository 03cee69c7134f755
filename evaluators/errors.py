"""Every error the library raises. Errors carry data; the words for people are made at the edges.

RedraftError
├─ InputError               somebody asked for something that cannot be
│  ├─ NotInstalled          no evaluator, task, suite, runtime or metric of that name
│  ├─ AmbiguousName         two distributions offer one name
│  ├─ BrokenPlugin          an installed plugin cannot be imported
│  ├─ BadParameter          an evaluator's parameter is unknown, of the wrong type or out of range
│  ├─ BadTask               a task cannot be evaluated here
│  ├─ BadModel              a model cannot be loaded or lacks what is needed
│  │  └─ OutOfResources     it needs more memory than there is, as it was asked for
│  └─ BadFile               a file is not what it should be (line number inside)
├─ SampleError              one sample failed; the others go on
│  ├─ CallError             a call to the model failed
│  │  ├─ CallRefused        for good: the runtime will not serve this request
│  │  └─ RuntimeUnavailable for now: the sample must be made again
│  ├─ BudgetExceeded        a limit on calls, tokens or time was reached
│  ├─ EvaluatorError        the plugin raised
│  └─ GradeError            the task could not grade an answer
└─ RunAborted               the whole run stops: cancelled, fenced off or out of time
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RedraftError(Exception):
    """Base of everything below; `id` is stable, `data` is what happened."""

    id = "error"

    def __init__(self, **data: object) -> None:
        super().__init__()
        self.data = data

    def __str__(self) -> str:
        """Return one line that names the data, for logs and terminals."""
        facts = ", ".join(f"{key}={value!r}" for key, value in self.data.items())
        return f"{self.id}: {facts}" if facts else self.id

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process boundaries with the data intact."""
        return (_rebuild, (type(self), self.data))


def _rebuild(kind: type[RedraftError], data: dict[str, object]) -> RedraftError:
    return kind(**data)


class InputError(RedraftError):
    """Somebody asked for something that cannot be; nothing was started."""

    id = "bad-input"


class NotInstalled(InputError):
    """No such thing is installed.

    Args (as data): kind, name, near (names that look alike).
    """

    id = "not-installed"

    @classmethod
    def among(cls, kind: str, name: str, names: Iterable[str]) -> NotInstalled:
        """Build the error with the installed names that look most like `name`."""
        near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
        return cls(kind=kind, name=name, near=near)

    def __str__(self) -> str:
        """Say what is missing and what is near."""
        near = self.data.get("near")
        hint = (
            f" Did you mean {' or '.join(map(str, near))}?"
            if isinstance(near, list) and near
            else ""
        )
        return f"No {self.data['kind']} named {self.data['name']!r} is installed.{hint}"


class AmbiguousName(InputError):
    """Two distributions offer one name, so neither is used.

    Args (as data): kind, name, distributions.
    """

    id = "ambiguous-name"

    def __str__(self) -> str:
        """Name the distributions that collide."""
        names = self.data["distributions"]
        listed = " and ".join(map(str, names)) if isinstance(names, list) else str(names)
        return (
            f"The {self.data['kind']} {self.data['name']!r} is offered by {listed}; uninstall one."
        )


class BrokenPlugin(InputError):
    """An installed plugin cannot be imported or is not what its entry point promises.

    Args (as data): kind, name, distribution, reason.
    """

    id = "broken-plugin"

    def __str__(self) -> str:
        """Name the plugin, where it comes from and what went wrong."""
        d = self.data
        return f"The {d['kind']} {d['name']!r} of {d['distribution']} cannot be used: {d['reason']}"


class BadParameter(InputError):
    """A parameter is unknown, of the wrong type or out of range.

    Args (as data): owner, name, value, reason.
    """

    id = "bad-parameter"

    def __str__(self) -> str:
        """Say which parameter of what, and what it should be."""
        d = self.data
        return f"{d['owner']}: parameter {d['name']}={d['value']!r}: {d['reason']}"


class BadTask(InputError):
    """A task cannot be evaluated here.

    Args (as data): task, reason.
    """

    id = "bad-task"

    def __str__(self) -> str:
        """Name the task and the reason."""
        return f"Task {self.data['task']!r}: {self.data['reason']}"


class BadModel(InputError):
    """A model cannot be loaded, or lacks what the evaluation needs.

    Args (as data): model, reason.
    """

    id = "bad-model"

    def __str__(self) -> str:
        """Name the model and the reason."""
        return f"Model {self.data['model']!r}: {self.data['reason']}"


class OutOfResources(BadModel):
    """The model, as it was asked for, needs more memory than there is.

    Args (as data): model, reason, kind (device_memory, kv_cache), the numbers that the runtime
    named (needed and available in bytes, most_tokens that would fit), and ladder (what was tried).
    """

    id = "out-of-resources"


class BadFile(InputError):
    """A file is not what it should be.

    Args (as data): path, line (from 1, or None), reason.
    """

    id = "bad-file"

    def __str__(self) -> str:
        """Name file, line and reason."""
        line = f":{self.data['line']}" if self.data.get("line") else ""
        return f"{self.data['path']}{line}: {self.data['reason']}"


class SampleError(RedraftError):
    """One sample failed; the others go on."""

    id = "sample-error"


class CallError(SampleError):
    """A call to the model failed."""

    id = "call-error"


class CallRefused(CallError):
    """The runtime will not serve this request, however often it is asked.

    Args (as data): status, reason.
    """

    id = "call-refused"


class ContextTooLong(CallRefused):
    """Prompt and completion together do not fit into the model's context window.

    Args (as data): status, reason.
    """

    id = "context-too-long"


class RuntimeUnavailable(CallError):
    """The runtime is dead, unreachable or broken; the sample must be made again.

    Args (as data): reason.
    """

    id = "runtime-unavailable"


class BudgetExceeded(SampleError):
    """A limit of the run was reached.

    Args (as data): kind (calls, tokens, seconds), value, limit.
    """

    id = "budget-exceeded"


class EvaluatorError(SampleError):
    """The plugin raised, or returned something that is not an outcome.

    Args (as data): evaluator, reason.
    """

    id = "evaluator-crashed"


class GradeError(SampleError):
    """The task could not grade an answer.

    Args (as data): task, reason.
    """

    id = "grade-error"


class RunAborted(RedraftError):
    """The whole run stops.

    Args (as data): reason (cancelled, fenced-off, drained, deadline).
    """

    id = "run-aborted"


def first_error(error: BaseException) -> BaseException:
    """Return the first error that is not itself a group: a `TaskGroup` wraps what ended it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
