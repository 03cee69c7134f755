"""A method's result beside its controls: differences with interval, test and cost of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from evaluators.controls.planning import PlannedControl
from evaluators.evaluator import Control
from evaluators.metrics import Estimate, Paired, Significance, Trajectory, holm, null, pair
from evaluators.metrics.decompose import macro_of
from evaluators.model import Json


@dataclass(frozen=True, slots=True)
class ControlComparison:
    """A method beside one of its controls, on the samples that were scored in both."""

    control: PlannedControl
    paired: Paired
    """Left the control, right the method: a difference above 0 speaks for the method."""

    @property
    def kind(self) -> Control:
        """Which control it is."""
        return self.control.kind

    @property
    def difference(self) -> Estimate:
        """Accuracy of the method less that of the control; null with its reason where missing."""
        return self.paired.difference

    @property
    def significance(self) -> Significance:
        """Whether the two differ by more than chance."""
        return self.paired.significance

    def of_method(self, name: str) -> Estimate:
        """Return the method's `acc`, `calls`, `tokens_in`, `tokens_out` or `tokens_computed`."""
        return self.paired.right[name]

    def of_control(self, name: str) -> Estimate:
        """Return the control's figure of that name."""
        return self.paired.left.get(name) or null(self.control.reason)

    @property
    def matched(self) -> float | None:
        """The control's compute over the method's, in what it was to match: tokens, or calls."""
        measure = "tokens_out" if self.kind == "sc_tokens" else "calls"
        ours, theirs = (side(measure).value for side in (self.of_method, self.of_control))
        if self.kind == "greedy" or not ours or theirs is None:
            return None
        return theirs / ours

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON from which `from_json` restores exactly this."""
        return {
            **self.control.to_json(),
            "label": self.control.label,
            "n": self.paired.n,
            "n_total": self.paired.n_total,
            "difference": self.difference.to_json(),
            "significance": self.significance.to_json(),
            "matched": self.matched,
            "method": {name: e.to_json() for name, e in self.paired.right.items()},
            "control": {name: e.to_json() for name, e in self.paired.left.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Restore a comparison."""
        sides = [
            {name: Estimate.from_json(e) for name, e in data[side].items()}
            for side in ("control", "method")
        ]
        return cls(
            PlannedControl.from_json(data),
            Paired(
                n=data["n"],
                n_total=data["n_total"],
                left=sides[0],
                right=sides[1],
                difference=Estimate.from_json(data["difference"]),
                significance=Significance(**data["significance"]),
            ),
        )


def compare_control(
    control: PlannedControl, method: Iterable[Trajectory], found: Iterable[Trajectory]
) -> ControlComparison:
    """Hold a method's result against one of its controls, sample by sample.

    Args:
        control: What was planned; a missing one gives a comparison that says why.
        method: The method's trajectories on one task.
        found: The control's, on the same task.
    """
    if not control.missing:
        return ControlComparison(control, pair(found, method))
    alone = tuple(method)
    paired = pair(alone, alone)
    untested = replace(
        paired,
        left={},
        difference=null(control.reason, n_total=paired.n_total),
        significance=Significance(None, "none"),
    )
    return ControlComparison(control, untested)


def corrected(compared: Sequence[ControlComparison]) -> list[float | None]:
    """Return the p-values of a method's controls, corrected by Holm for how many runs they are."""
    ps = {c.control.label: c.significance.p for c in compared if c.significance.p is not None}
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True))
    return [None if c.control.missing else adjusted.get(c.control.label) for c in compared]


def macro_differences(
    by_task: Mapping[str, Sequence[ControlComparison]],
) -> dict[str, Estimate]:
    """Average a method's differences from each control over tasks, each with the same weight."""
    found: dict[str, dict[str, Estimate]] = {
        task: {c.kind: c.difference for c in rows} for task, rows in by_task.items() if rows
    }
    return macro_of(found)
