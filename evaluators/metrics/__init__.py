"""Pure functions over graded trajectories: every figure Redraft shows, with its interval."""

from evaluators.metrics.catalogue import cost, decomposition, quality
from evaluators.metrics.compare import Comparison, compare, holm, ranks, significantly_better
from evaluators.metrics.cvc import Confidence, cvc_classification, cvc_generation
from evaluators.metrics.decompose import Decomposition, Significance, decompose, macro
from evaluators.metrics.estimate import CONFIDENCE, Estimate, null
from evaluators.metrics.estimators import share
from evaluators.metrics.intervals import (
    Cells,
    McNemar,
    clustered_se,
    mcnemar,
    newcombe,
    wilson,
)
from evaluators.metrics.labels import labels
from evaluators.metrics.metric import Metric
from evaluators.metrics.power import questions_needed, smallest_effect
from evaluators.metrics.registry import all_metrics, get, names
from evaluators.metrics.trajectory import Graded, Trajectory

__all__ = [
    "CONFIDENCE",
    "Cells",
    "Comparison",
    "Confidence",
    "Decomposition",
    "Estimate",
    "Graded",
    "McNemar",
    "Metric",
    "Significance",
    "Trajectory",
    "all_metrics",
    "clustered_se",
    "compare",
    "cost",
    "cvc_classification",
    "cvc_generation",
    "decompose",
    "decomposition",
    "get",
    "holm",
    "labels",
    "macro",
    "mcnemar",
    "names",
    "newcombe",
    "null",
    "quality",
    "questions_needed",
    "ranks",
    "share",
    "significantly_better",
    "smallest_effect",
    "wilson",
]
