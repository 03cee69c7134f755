"""Equal compute: what a method's result is held against, planned from the result and paired."""

from evaluators.controls.bounds import calls_at_most, controls_at_most
from evaluators.controls.pairing import (
    ControlComparison,
    compare_control,
    corrected,
    macro_differences,
)
from evaluators.controls.planning import (
    GREEDY,
    MOST_SAMPLES,
    MOST_TURNS,
    TITLES,
    HeldAgainst,
    PlannedControl,
    first_temperatures,
    plan_controls,
    tokens_per_sample,
)

__all__ = [
    "GREEDY",
    "MOST_SAMPLES",
    "MOST_TURNS",
    "TITLES",
    "ControlComparison",
    "HeldAgainst",
    "PlannedControl",
    "calls_at_most",
    "compare_control",
    "controls_at_most",
    "corrected",
    "first_temperatures",
    "macro_differences",
    "plan_controls",
    "tokens_per_sample",
]
