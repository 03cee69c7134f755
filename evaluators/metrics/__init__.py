"""Pure functions over graded trajectories: every figure Redraft shows, with its interval."""

from evaluators.metrics.catalogue import cost, decomposition, quality
from evaluators.metrics.compare import (
    Comparison,
    Paired,
    benjamini_hochberg,
    compare,
    holm,
    interval_p,
    pair,
    ranks,
    significantly_better,
)
from evaluators.metrics.critique import contradiction, critique, guessing_f1, judging, self_check
from evaluators.metrics.cvc import Confidence, cvc_classification, cvc_generation
from evaluators.metrics.decompose import Decomposition, Significance, decompose, macro
from evaluators.metrics.efficiency import efficiency, step_labels
from evaluators.metrics.estimate import CONFIDENCE, Estimate, null
from evaluators.metrics.estimators import share
from evaluators.metrics.intervals import (
    Cells,
    McNemar,
    clustered_se,
    jeffreys,
    mcnemar,
    newcombe,
    sign_flip_p,
    wilson,
)
from evaluators.metrics.judgement import Judgement
from evaluators.metrics.labels import labels
from evaluators.metrics.metric import Metric
from evaluators.metrics.perf_gain_cost import Standing, pareto_front, perf_gain_cost, weighed
from evaluators.metrics.power import planned_effect, questions_needed, smallest_effect
from evaluators.metrics.registry import all_metrics, get, names
from evaluators.metrics.scored import calibrated, candidates
from evaluators.metrics.steps import STEP_COUNTS, count_steps
from evaluators.metrics.trajectory import Graded, Trajectory
from evaluators.metrics.verification import Verdicts, verification, verify

__all__ = [
    "CONFIDENCE",
    "STEP_COUNTS",
    "Cells",
    "Comparison",
    "Confidence",
    "Decomposition",
    "Estimate",
    "Graded",
    "Judgement",
    "McNemar",
    "Metric",
    "Paired",
    "Significance",
    "Standing",
    "Trajectory",
    "Verdicts",
    "all_metrics",
    "benjamini_hochberg",
    "calibrated",
    "candidates",
    "clustered_se",
    "compare",
    "contradiction",
    "cost",
    "count_steps",
    "critique",
    "cvc_classification",
    "cvc_generation",
    "decompose",
    "decomposition",
    "efficiency",
    "get",
    "guessing_f1",
    "holm",
    "interval_p",
    "jeffreys",
    "judging",
    "labels",
    "macro",
    "mcnemar",
    "names",
    "newcombe",
    "null",
    "pair",
    "pareto_front",
    "perf_gain_cost",
    "planned_effect",
    "quality",
    "questions_needed",
    "ranks",
    "self_check",
    "share",
    "sign_flip_p",
    "significantly_better",
    "smallest_effect",
    "step_labels",
    "verification",
    "verify",
    "weighed",
    "wilson",
]
