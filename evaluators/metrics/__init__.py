"""Pure functions over graded trajectories: every figure Redraft shows, with its interval."""

from evaluators.metrics.catalogue import cost, decomposition, quality
from evaluators.metrics.decompose import Decomposition, Significance, decompose, macro
from evaluators.metrics.estimate import CONFIDENCE, Estimate, null
from evaluators.metrics.intervals import (
    Cells,
    McNemar,
    clustered_se,
    mcnemar,
    newcombe,
    wilson,
)
from evaluators.metrics.metric import Metric
from evaluators.metrics.registry import get, names
from evaluators.metrics.trajectory import Graded, Trajectory

__all__ = [
    "CONFIDENCE",
    "Cells",
    "Decomposition",
    "Estimate",
    "Graded",
    "McNemar",
    "Metric",
    "Significance",
    "Trajectory",
    "clustered_se",
    "cost",
    "decompose",
    "decomposition",
    "get",
    "macro",
    "mcnemar",
    "names",
    "newcombe",
    "null",
    "quality",
    "wilson",
]
