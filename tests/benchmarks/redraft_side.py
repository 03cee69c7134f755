"""Our side of a benchmark, in a process of its own: evaluates as the argument says, prints a `Run`.

The argument is JSON: `url` and `name` of a served model (or `runtime`, `model` and `args` to start
one), `task`, `limit` and `first` (which samples), `methods` as pairs of name and parameters, `file`
for methods that only a benchmark has, `in_flight`, `apart` to let every method run on its own with
an empty store, `stored` for methods that run before the clock starts and leave their answers in the
store, `outcome` (what to compare: scores or texts), `compare` (how many samples of it).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from harness import HERE, Run, say

from evaluators.engine import Limits, MemoryStore, SharedModel, evaluate
from evaluators.evaluator import Evaluator
from evaluators.model import Sample, SampleResult
from evaluators.ports import Task
from evaluators.registry import load_evaluator
from evaluators.runtimes import EgressPolicy, ModelSpec, open_runtime
from evaluators.tasks import TaskSpec, open_tasks

Results = dict[str, list[SampleResult]]
"""By method."""

Listed = tuple[str, Evaluator, dict[str, Any]]
"""A method: label, evaluator, parameters."""


@asynccontextmanager
async def model_of(asked: dict[str, Any]) -> AsyncIterator[Any]:
    """Connect to the served model, or start the runtime."""
    args = asked.get("args") or {"base_url": asked["url"], "model": asked["name"]}
    spec = ModelSpec(
        asked.get("runtime", "endpoint"),
        asked.get("model", "endpoint"),
        args,
        batch_size=asked.get("batch_size", 64),
    )
    async with open_runtime(spec, policy=EgressPolicy.trusting()) as running:
        yield running


def outcome_of(asked: dict[str, Any], results: Results) -> dict[str, Any]:
    """Return what is compared with the other side, by method and sample."""
    found: dict[str, Any] = {}
    first = asked.get("compare", 1 << 30)
    for method, listed in results.items():
        for result in listed:
            if int(result.sample.id) >= first:
                continue
            key = result.sample.id if len(results) == 1 else f"{method}/{result.sample.id}"
            if asked.get("outcome") == "texts":
                found[key] = [answer.text for answer in result.answers]
            else:
                found[key] = [answer.grade.score for answer in result.answers]
    return found


def figures_of(results: Results) -> dict[str, float]:
    """Count calls and tokens: computed ones are those of calls that were not shared."""
    nodes = [node for found in results.values() for result in found for node in result.nodes]
    calls = [node for node in nodes if node.usage]
    made = [node for node in calls if not node.cached]
    return {
        "lane seconds": sum(result.seconds for found in results.values() for result in found),
        "calls": len(calls),
        "calls made": len(made),
        "prompt tokens": sum(node.usage.prompt_tokens for node in made),
        "completion tokens": sum(node.usage.completion_tokens for node in made),
    }


async def run_methods(
    methods: Sequence[Listed],
    *,
    task: Task,
    samples: Sequence[Sample],
    shared: SharedModel,
    in_flight: int,
) -> Results:
    """Run all methods side by side on one model."""
    results: Results = {label: [] for label, _, _ in methods}

    async def run(label: str, method: Evaluator, params: dict[str, Any]) -> None:
        async def keep(result: SampleResult) -> None:
            results[label].append(result)

        await evaluate(
            method,
            params,
            task=task,
            samples=samples,
            models={"actor": shared},
            sink=keep,
            limits=Limits(in_flight=in_flight),
        )

    async with asyncio.TaskGroup() as group:
        for listed in methods:
            group.create_task(run(*listed))
    failed = [r for found in results.values() for r in found if r.status != "ok"]
    if failed:
        sys.exit(f"{len(failed)} samples failed, the first with {failed[0].failure}")
    return results


def chosen(asked: dict[str, Any], name: str) -> list[Listed]:
    """Return the methods under labels that tell their parameters."""
    if "file" in asked:
        module = importlib.import_module(asked["file"])
        return [(named, getattr(module, named), params) for named, params in asked.get(name, ())]
    return [
        (f"{named} {json.dumps(params, sort_keys=True)}", load_evaluator(named), params)
        for named, params in asked.get(name, ())
    ]


async def main(asked: dict[str, Any]) -> Run:
    """Evaluate, timing what comes before the first prompt apart from the work."""
    begun = time.perf_counter()
    folders = [HERE / "tasks"]
    in_flight = asked.get("in_flight", 64)
    async with open_tasks([TaskSpec(asked["task"])], include_paths=folders) as tasks:
        (task,) = tasks.values()
        async with model_of(asked) as model:

            async def run(methods: Sequence[Listed], store: MemoryStore) -> Results:
                shared = SharedModel(model, store=store, in_flight=in_flight)
                return await run_methods(
                    methods, task=task, samples=samples, shared=shared, in_flight=in_flight
                )

            store = MemoryStore()
            if stored := chosen(asked, "stored"):
                samples = await task.samples(asked["limit"])
                await run(stored, store)
            methods = chosen(asked, "methods")
            started = time.perf_counter()
            samples = (await task.samples(asked["limit"]))[asked.get("first", 0) :]
            results: Results = {}
            if asked.get("apart"):
                for method in methods:
                    results |= await run([method], MemoryStore())
            else:
                results = await run(methods, store)
            work = time.perf_counter() - started
    return Run(work, started - begun, outcome_of(asked, results), figures_of(results))


if __name__ == "__main__":
    say(asyncio.run(main(json.loads(sys.argv[1]))))
