"""What a task must be to be evaluated here, and the words for why it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluators.errors import BadTask, InputError
from evaluators.model import TaskMode
from evaluators.tasks.datasets import data_errors
from evaluators.tasks.lm_eval import HarnessTask, raw_config
from evaluators.tasks.spec import CHOOSING, TaskSpec

_REQUESTS = {"generate_until": "generate_until", "multiple_choice": "loglikelihood"}


def load(spec: TaskSpec, path: Path) -> tuple[HarnessTask, TaskMode]:
    """Load a task and return it with the mode that it is put in.

    Raises:
        BadTask: It cannot be evaluated here; the reason says why.
    """
    config = _file(spec.name, path)
    if "class" not in config:
        _check_output(spec.name, str(config.get("output_type", "generate_until")))
    _check_code(spec.name, bool(config.get("unsafe_code")))
    task = _loaded(spec.name, path)
    _check_loaded(spec.name, task)
    return task, _mode(spec, task, declared="class" not in config)


def choose_metric(spec: TaskSpec, *, usable: Sequence[str], others: Sequence[str]) -> str:
    """Choose the primary metric: the one asked for, or the first that can grade one answer.

    Args:
        usable: Metrics that are means over samples of which more is better.
        others: What else the task computes.
    """
    wanted = spec.metric or next(iter(usable), None)
    if wanted in usable:
        return str(wanted)
    listed = ", ".join(usable) or "none"
    if wanted is None or wanted in others:
        named = wanted or ", ".join(others) or "no metric"
        reason = (
            f"{named} is computed over the whole corpus or is better when lower, so it cannot "
            f"grade one answer; metrics that can: {listed}"
        )
        raise BadTask(task=spec.name, reason=reason)
    raise BadTask(task=spec.name, reason=f"has no metric {wanted!r}; it has: {listed}")


def choose_filter(spec: TaskSpec, filters: Sequence[str]) -> str:
    """Choose the primary filter: the one asked for, or the task's first."""
    wanted = spec.filter or filters[0]
    if wanted not in filters:
        listed = ", ".join(filters)
        raise BadTask(task=spec.name, reason=f"has no filter {wanted!r}; it has: {listed}")
    return wanted


def choose_fewshot(spec: TaskSpec, task: HarnessTask) -> int:
    """Set the number of few-shot examples and return the one that holds."""
    if spec.num_fewshot is not None and spec.num_fewshot < 0:
        raise BadTask(task=spec.name, reason=f"num_fewshot {spec.num_fewshot} is negative")
    holds = task.fewshot(spec.num_fewshot, spec.fewshot_seed)
    if spec.num_fewshot not in (None, holds):
        raise BadTask(task=spec.name, reason=f"fixes num_fewshot at {holds}; it cannot be changed")
    return holds


def usable_metrics(task: HarnessTask) -> list[str]:
    """Return the metrics that can grade one answer, in the task's order."""
    return [name for name in task.means if not task.lower_is_better(name)]


def one_line(error: BaseException) -> str:
    """Return kind and text of an error on one line of bounded length."""
    text = " ".join(str(error).split())
    shown = text if len(text) <= 300 else f"{text[:300]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


def _file(name: str, path: Path) -> dict[str, object]:
    """Read what the file alone gives away, before a data set is fetched."""
    try:
        return raw_config(path)
    except InputError as error:
        raise BadTask(task=name, reason=f"its file cannot be used: {error}") from error
    except Exception as error:
        raise BadTask(task=name, reason=f"its file cannot be read: {one_line(error)}") from error


def _mode(spec: TaskSpec, task: HarnessTask, *, declared: bool) -> TaskMode:
    """Return the mode that holds.

    Args:
        declared: The task's file says what kind of task it is, so that its name in results could
            be known before it was loaded.
    """
    if task.output_type != "multiple_choice":
        if spec.mode in CHOOSING:
            reason = f"has no options to choose from, so it cannot be put as {spec.mode}"
            raise BadTask(task=spec.name, reason=reason)
        return "generate_until"
    if spec.mode is None and declared:
        return CHOOSING[0]
    if spec.mode in CHOOSING:
        return spec.mode
    written = " or ".join(f"{spec.name}:{mode}" for mode in CHOOSING)
    reason = f"is a choice between options: say how it is to be put, as {written}"
    raise BadTask(task=spec.name, reason=reason)


def _check_output(name: str, output_type: str) -> None:
    if output_type not in _REQUESTS:
        reason = (
            f"{output_type} is not supported: the model must write an answer or choose one; "
            "supported are generate_until and multiple_choice tasks"
        )
        raise BadTask(task=name, reason=reason)


def _check_code(name: str, unsafe: bool) -> None:
    if unsafe:
        raise BadTask(task=name, reason="grading runs code that the model wrote: needs a sandbox")


def _loaded(name: str, path: Path) -> HarnessTask:
    try:
        return HarnessTask(path)
    except ImportError as error:
        reason = f"needs something that is not installed: {one_line(error)}"
        raise BadTask(task=name, reason=reason) from error
    except InputError as error:
        raise BadTask(task=name, reason=f"its data set cannot be used: {error}") from error
    except data_errors() as error:
        reason = f"its data set cannot be fetched: {one_line(error)}"
        raise BadTask(task=name, reason=reason) from error
    except Exception as error:
        raise BadTask(task=name, reason=f"cannot be loaded: {one_line(error)}") from error


def _check_loaded(name: str, task: HarnessTask) -> None:
    _check_output(name, task.output_type)
    _check_code(name, task.unsafe_code)
    if task.multimodal:
        raise BadTask(task=name, reason="shows images or sounds; supported is text alone")
    if not len(task.docs):
        raise BadTask(task=name, reason="has no documents")
    if task.several_prompts and task.output_type == "multiple_choice":
        reason = "puts every option into a prompt of its own; supported are options of one prompt"
        raise BadTask(task=name, reason=reason)
    try:
        kinds = [kind for kind, _ in task.requests(task.docs[0])]
    except Exception as error:
        raise BadTask(task=name, reason=f"makes no request: {one_line(error)}") from error
    expected = _REQUESTS[task.output_type]
    several = task.output_type == "multiple_choice"
    if set(kinds) != {expected} or (len(kinds) > 1 and not several):
        reason = f"asks for {' and '.join(kinds)} per sample; supported is one {expected}"
        raise BadTask(task=name, reason=reason)
