"""Tasks as the engine sees them; the work is done in the task process."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evaluators.errors import BadTask, GradeError, InputError, first_error
from evaluators.model import ChoiceLikelihood, Given, Grade, Message, Sample, Sampling
from evaluators.ports import Task, TaskInfo
from evaluators.tasks.hosting import TaskHost
from evaluators.tasks.process import ProcessLost, TaskProcess
from evaluators.tasks.spec import TaskSpec

GRADE_TIMEOUT = 60.0
"""Seconds that grading the answers to one sample may take."""

LOAD_TIMEOUT = 1800.0
"""Seconds that opening tasks, or rendering one task's prompts, may take: data sets are fetched."""

_RENDERED_AT_ONCE = 50
"""Prompts of one message: what is graded waits no longer than these take."""


@asynccontextmanager
async def open_tasks(
    specs: Sequence[TaskSpec],
    *,
    include_paths: Sequence[Path | str] = (),
    grade_timeout: float = GRADE_TIMEOUT,
    load_timeout: float = LOAD_TIMEOUT,
) -> AsyncIterator[dict[str, Task]]:
    """Open every task in a process of its own, which ends with the block.

    Args:
        include_paths: Folders of lm-eval YAML that are searched before the installed ones.
        grade_timeout: Seconds after which a hanging grader is killed; its sample gets a GradeError.
        load_timeout: Seconds that opening, or rendering one task, may take.

    Raises:
        NotInstalled: No task has this name.
        BadTask: A task cannot be evaluated here, or is named twice.
    """
    _check_names(specs)
    host = TaskHost()
    folders = _folders(include_paths)
    processes = [
        TaskProcess(
            host,
            {"specs": [spec.wire()], "folders": folders},
            load_timeout=load_timeout,
            judge_timeout=grade_timeout,
        )
        for spec in specs
    ]
    try:
        infos = await _open_all(specs, processes)
        yield {
            info.name: _RemoteTask(info, process, load_timeout)
            for info, process in zip(infos, processes, strict=True)
        }
    finally:
        for process in processes:
            await process.close()
        await host.close()


async def _open_all(
    specs: Sequence[TaskSpec], processes: Sequence[TaskProcess]
) -> Sequence[TaskInfo]:
    """Open all tasks, a few at a time."""
    room = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def opened(spec: TaskSpec, process: TaskProcess) -> TaskInfo:
        async with room:
            (info,) = await _loading(spec.name, process.open())
        return _info(info)

    try:
        async with asyncio.TaskGroup() as group:  # one that cannot be opened ends all
            tasks = [
                group.create_task(opened(spec, process))
                for spec, process in zip(specs, processes, strict=True)
            ]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    infos = [task.result() for task in tasks]
    for name, count in Counter(info.name for info in infos).items():
        if count > 1:
            raise BadTask(task=name, reason="is named twice")
    return infos


class _RemoteTask:
    """One task behind the process."""

    def __init__(self, info: TaskInfo, process: TaskProcess, load_timeout: float) -> None:
        self._info = info
        self._process = process
        self._load_timeout = load_timeout

    @property
    def info(self) -> TaskInfo:
        return self._info

    async def samples(self, limit: int | None = None) -> Sequence[Sample]:
        """Render piece by piece: whoever wants an answer graded meanwhile need not wait for all."""
        name, size = self._info.name, self._info.size
        if limit is not None and not 1 <= limit <= size:
            raise BadTask(task=name, reason=f"limit {limit} is not between 1 and {size}")
        end = size if limit is None else limit
        found: list[Sample] = []
        while len(found) < end:
            piece = {"start": len(found), "limit": min(len(found) + _RENDERED_AT_ONCE, end)}
            asked = self._process.ask("samples", self._load_timeout, task=name, **piece)
            found += [_sample(name, fields) for fields in await _loading(name, asked)]
        return found

    async def grade(
        self, sample_id: str, answers: Sequence[str | Sequence[ChoiceLikelihood]]
    ) -> Sequence[Grade]:
        wires = [a if isinstance(a, str) else [asdict(choice) for choice in a] for a in answers]
        graded = await self._judged("grade", sample_id, answers=wires)
        return [Grade(**fields) for fields in graded]

    async def extract(self, sample_id: str, text: str) -> str | None:
        extracted = await self._judged("extract", sample_id, text=text)
        return None if extracted is None else str(extracted)

    async def _judged(self, do: str, sample_id: str, **what: object) -> Any:
        try:
            return await self._process.judge(
                do, task=self._info.name, index=self._index(sample_id), **what
            )
        except (ProcessLost, InputError) as lost:  # it may not be possible to open the tasks again
            raise GradeError(task=self._info.name, reason=str(lost)) from lost

    def _index(self, sample_id: str) -> int:
        if not (sample_id.isascii() and sample_id.isdigit()):
            raise GradeError(task=self._info.name, reason=f"there is no sample {sample_id!r}")
        return int(sample_id)


async def _loading(name: str, asked: Any) -> Any:
    try:
        return await asked
    except ProcessLost as lost:
        raise BadTask(task=name, reason=f"loading it failed: {lost}") from lost


def _folders(paths: Sequence[Path | str]) -> list[str]:
    return [str(Path(path).expanduser().resolve()) for path in paths]


def _check_names(specs: Sequence[TaskSpec]) -> None:
    for key, count in Counter(spec.key for spec in specs).items():
        if count > 1:
            raise BadTask(task=key, reason="is named twice")


def _info(fields: Mapping[str, Any]) -> TaskInfo:
    sampling = fields["sampling"]
    stop = tuple(sampling["stop"])
    own = {"sampling": Sampling(**{**sampling, "stop": stop}), "filters": tuple(fields["filters"])}
    return TaskInfo(**{**fields, **own})


def _sample(task: str, fields: Mapping[str, Any]) -> Sample:
    return Sample(
        id=fields["id"],
        task=task,
        messages=tuple(Message(**message) for message in fields["messages"]),
        question=tuple(Message(**message) for message in fields["question"]),
        cluster=fields.get("cluster", ""),
        choices=tuple(fields.get("choices", ())),
        metadata=MappingProxyType(fields.get("metadata", {})),
        given=_given(fields.get("given")),
    )


def _given(fields: Mapping[str, Any] | None) -> Given | None:
    if fields is None:
        return None
    return Given(fields["text"], tuple(fields["steps"]), fields["author"])
