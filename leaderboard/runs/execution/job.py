"""One shard in a worker's hands, from claim to end; whatever goes wrong stays inside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evaluators.engine import Limits, evaluate
from evaluators.errors import BadTask, InputError, OutOfResources, RuntimeUnavailable
from evaluators.evaluator import Evaluator
from evaluators.model import ModelRole, Sample, SampleResult
from evaluators.ports import Task
from evaluators.registry import load_evaluator
from evaluators.runtimes import RunningModel
from evaluators.strategies.packs import PromptPack
from evaluators.strategies.parity import require_parity
from leaderboard.catalog.packs import PromptsDiffer
from leaderboard.catalog.services import note_probed, note_sizes
from leaderboard.runs import services
from leaderboard.runs.errors import (
    CANCELLED,
    DRAINED,
    Failure,
    Fenced,
    MissingCapability,
    failure_of,
)
from leaderboard.runs.execution.batch import Batch
from leaderboard.runs.execution.packs import prompts_for
from leaderboard.runs.execution.tools import Breakdown, Opened, Runtime, Stop, Tools
from leaderboard.runs.services import Claim, Ending
from leaderboard.runs.versions import server_versions

log = logging.getLogger(__name__)

ROUNDS = 3
"""How often single samples that met infrastructure errors are made again before the shard waits."""


MANY = 1_000_000
"""Stands for a number of samples that is not known yet."""


class Job:
    """Works on one shard until it is complete, lost, cancelled or has failed."""

    def __init__(self, held: Claim, runtime: Runtime, *, tools: Tools) -> None:
        self.held = held
        self.alone = held.alone
        self.left = held.size * held.replicates if held.size is not None else MANY
        """Trajectories that are still to be made, as far as is known yet."""
        self._runtime = runtime
        self._tools = tools
        self._batch = Batch(held, tools.database, numbers=tools.numbers)
        self._stop: Stop | None = None
        self._inner: asyncio.Task[None] | None = None
        self._pack: PromptPack | None = None

    def stop(self, reason: Stop) -> None:
        """End the work; the first reason counts, except that a lost shard is lost."""
        if self._stop is None or reason == "fenced":
            self._stop = reason
        if self._inner is not None:
            self._inner.cancel()

    async def run(self) -> None:
        """Work on the shard, and let go of it in the way that what happened asks for."""
        self._inner = asyncio.create_task(self._work())
        if self._stop:
            self._inner.cancel()
        await asyncio.wait([self._inner])
        error = None if self._inner.cancelled() else self._inner.exception()
        try:
            await self._end(error)
        except Fenced:
            log.warning("%s: shard %s is no longer ours", self.held.run_id, self.held.shard)
        except Exception:
            # The lease decides: whoever comes next goes on from the last stored sample.
            log.exception("%s: letting go of shard %s failed", self.held.run_id, self.held.shard)

    async def _end(self, error: BaseException | None) -> None:
        ending = await self._ending(error)
        if isinstance(error, OutOfResources):
            rungs: Any = error.data.get("ladder") or ()
            await self._tools.database(services.note_rungs, self.held, rungs)
        if ending is None:
            return
        if ending.kind in {"drained", "died", "retry"}:
            await self._batch.flush()
        await self._tools.database(services.release, self.held, ending)

    async def _ending(self, error: BaseException | None) -> Ending | None:
        """Return how to let go, or None when the shard is complete or not ours."""
        match error:
            case None:
                return await self._stopped(self._stop)
            case Fenced():
                return None
            case PromptsDiffer():
                log.warning("%s: %s", self.held.run_id, error.data["reason"])
                return Ending("retry", failure_of(error))
            case InputError():
                log.info("%s: %s", self.held.run_id, error)
                return Ending("failed", failure_of(error))
            case RuntimeUnavailable():
                return _broken(await self._runtime.blame(self.held, failure_of(error)))
            case _:
                log.error("%s: shard %s", self.held.run_id, self.held.shard, exc_info=error)
                return Ending("failed", failure_of(error))

    async def _stopped(self, reason: Stop | None) -> Ending | None:
        match reason:
            case None | "fenced":
                return None
            case "cancelled":
                return Ending("cancelled", CANCELLED)
            case "drained":
                return Ending("drained", DRAINED)
            case "broken":
                died = Failure("run:app:runtime-died")
                return _broken(await self._runtime.blame(self.held, died))

    async def _work(self) -> None:
        held, database = self.held, self._tools.database
        evaluator = load_evaluator(held.evaluator)
        self._pack = await asyncio.to_thread(prompts_for, held, evaluator)
        async with self._tools.shelf.read(
            held.suite, held.tasks, chat=held.has_chat_template
        ) as tasks:
            task = tasks[held.task]
            samples = await self._planned(task)
            if await self._missing(samples):
                if self._pack:
                    require_parity(self._pack, samples)
                await self._make(evaluator, task, samples)
            await self._batch.flush()
            if not await database(services.finish, held):
                count = len(await self._missing(samples))
                raise RuntimeUnavailable(reason=f"{count} samples met infrastructure errors")

    async def _planned(self, task: Task) -> Sequence[Sample]:
        """Return the shard's samples in order; the first to load a task fixes its size."""
        held, database = self.held, self._tools.database
        available = min(task.info.size, held.limit or task.info.size)
        size = held.size
        if size is None:
            size = await database(services.fix_size, held, available)
            await database(note_sizes, held.suite, {held.task: task.info.size})
        end = held.offset + size
        samples = (await task.samples(end))[held.offset : end]
        if len(samples) != size or not size:
            reason = f"it has {task.info.size} samples, but {held.offset} to {end} were planned"
            raise BadTask(task=held.task, reason=reason)
        self._batch.positions = {s.id: held.offset + i for i, s in enumerate(samples)}
        return samples

    async def _missing(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples of which a trajectory is missing."""
        done = await self._tools.database(services.present, self.held)
        replicates = range(self.held.replicates)
        missing = [s for s in samples if not all((s.id, number) in done for number in replicates)]
        self.left = len(missing) * self.held.replicates
        return missing

    async def _make(self, evaluator: Evaluator, task: Task, samples: Sequence[Sample]) -> None:
        """Make what is missing, once the runtimes answer."""
        models = await self._runtime.models(self.held)
        for opened in models.values():
            _check_capabilities(evaluator, opened.running)
        await self._note(task, models)
        for _ in range(ROUNDS):
            missing = await self._missing(samples)
            if not missing:
                return
            await self._evaluate(evaluator, task, missing, models=models)
            await self._batch.flush()

    async def _note(self, task: Task, models: Mapping[ModelRole, Opened]) -> None:
        """Put down what the work is done with, on the shard and for those who choose models."""
        held, database = self.held, self._tools.database
        await database(services.start, held, facts=_facts(task, models))
        if rungs := models["actor"].running.info.ladder:
            await database(services.note_rungs, held, rungs)
        players = {"actor": held.actor, **held.others}
        for role, opened in models.items():
            await database(
                note_probed,
                players[role].model,
                capabilities=opened.running.capabilities,
                context_window=opened.running.context_window,
            )

    async def _evaluate(
        self,
        evaluator: Evaluator,
        task: Task,
        samples: Sequence[Sample],
        *,
        models: Mapping[ModelRole, Opened],
    ) -> None:
        # A batch is only full while more samples are waiting for it than it has rows.
        batch = models["actor"].running.info.batch_size
        lanes = max(self._tools.numbers.samples_in_flight, 2 * batch)
        infos = [opened.running.info for opened in models.values()]
        limits = Limits(in_flight=lanes).patient_with(
            [info.batch_size for info in infos if not info.stable],
            at_once=self._tools.numbers.shards_at_once,
        )
        work = asyncio.create_task(
            evaluate(
                evaluator,
                self.held.params,
                task=task,
                samples=samples,
                models={role: opened.shared for role, opened in models.items()},
                sink=self._keep,
                seed=self.held.seed,
                replicates=self.held.replicates,
                limits=limits,
                prompts=self._pack.prompts if self._pack else {},
            )
        )
        flusher = asyncio.create_task(self._batch.flush_by_age())
        try:
            await asyncio.wait({work, flusher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            flusher.cancel()
            await asyncio.wait({work, flusher})
        for task_ in (flusher, work):
            if not task_.cancelled():
                task_.result()

    async def _keep(self, result: SampleResult) -> None:
        await self._batch.add(result)
        if result.status != "infra_error":
            self.left -= 1
            self.alone = False  # it makes progress, so it may have company again
            self._runtime.progressed(result)


def _check_capabilities(evaluator: Evaluator, running: RunningModel) -> None:
    """Refuse a model that cannot do what the evaluator needs.

    Raises:
        MissingCapability: With what is missing.
    """
    missing = sorted(evaluator.requires - running.capabilities)
    if missing:
        reason = f"{evaluator.name} needs {', '.join(missing)}, which the runtime lacks"
        raise MissingCapability(model=running.info.label, reason=reason, missing=missing)


def _broken(breakdown: Breakdown) -> Ending:
    return Ending(breakdown.kind, breakdown.failure, company=breakdown.company)


def _facts(task: Task, models: Mapping[ModelRole, Opened]) -> Mapping[str, Any]:
    """Return what the manifest says of the task and the runtimes."""
    info = task.info
    found: dict[str, Any] = {
        "task": {
            "name": info.name,
            "version": info.version,
            "digest": info.digest,
            "size": info.size,
            "metric": info.metric,
            "filter": info.filter,
            "threshold": info.threshold,
            "num_fewshot": info.num_fewshot,
            "mode": info.mode,
            "sampling": asdict(info.sampling),
            "filters": list(info.filters),
            "overlong": info.overlong,
        },
        "words": {"summary": info.summary, "config": info.config},
        "runtime": _about(models["actor"].running),
        "server": server_versions(),
    }
    others = {role: _about(opened.running) for role, opened in models.items() if role != "actor"}
    return found | others


def _about(running: RunningModel) -> Mapping[str, Any]:
    about = running.info
    return {
        "fingerprint": running.fingerprint,
        "versions": dict(about.versions),
        "identity": dict(about.identity),
        "dtype": about.dtype,
        "device": about.device,
        "context_window": about.context_window,
        "chat_template_sha256": about.chat_template_sha256,
        "exact_usage": about.exact_usage,
        "isolation": about.isolation,
    }
