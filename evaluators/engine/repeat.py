"""Equal questions put twice, past everything stored: greedy decoding is not free of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.engine.run import Limits, evaluate
from evaluators.evaluator import Evaluator
from evaluators.metrics import Estimate, share
from evaluators.model import Json, ModelRole, Sample, SampleResult
from evaluators.ports import Model, Task

NONE_TWICE = "no question was answered twice"


@dataclass(frozen=True, slots=True)
class Repeated:
    """What became of equal calls that were made twice, on one task."""

    changed: Estimate
    """Share of questions whose last answer reads otherwise."""
    flipped: Estimate
    """Share of questions whose last answer is judged otherwise: the noise under every figure."""

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON."""
        return {"changed": self.changed.to_json(), "flipped": self.flipped.to_json()}


async def repeat(
    evaluator: Evaluator,
    params: Mapping[str, object],
    *,
    task: Task,
    samples: Sequence[Sample],
    models: Mapping[ModelRole, Model],
    fresh: Mapping[ModelRole, Model],
    limits: Limits | None = None,
) -> Repeated:
    """Run an evaluator as it was run and once more on models that share nothing with it.

    Args:
        models: As the evaluation used them: what is stored there is not made again.
        fresh: The same models without anything stored.

    Raises:
        RuntimeUnavailable: The model is gone.
    """

    async def answers(of: Mapping[ModelRole, Model]) -> dict[str, SampleResult]:
        found: dict[str, SampleResult] = {}

        async def keep(result: SampleResult) -> None:
            if result.status == "ok":
                found[result.sample.id] = result

        await evaluate(
            evaluator, params, task=task, samples=samples, models=of, sink=keep, limits=limits
        )
        return found

    return compare_repeats(await answers(models), await answers(fresh), total=len(samples))


def compare_repeats(
    before: Mapping[str, SampleResult], after: Mapping[str, SampleResult], *, total: int
) -> Repeated:
    """Count the questions answered twice whose last answer, or its grade, is another."""
    both = [(before[name].answers[-1], after[name].answers[-1]) for name in before if name in after]
    changed = sum(a.text != b.text for a, b in both)
    flipped = sum(a.grade.correct != b.grade.correct for a, b in both)
    return Repeated(
        *(share(k, len(both), n_total=total, empty=NONE_TWICE) for k in (changed, flipped))
    )
