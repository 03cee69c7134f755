"""All that a plugin may import.

An evaluator is one async function `(ctx, sample, *, parameters) -> Outcome`, decorated with
`@evaluator`. It asks the model through `ctx`, and returns the successive answers; the engine
grades every one of them.
"""

from evaluators import critique, metrics, strategies
from evaluators.answers import answer_key, same_answer
from evaluators.context import Context, OracleVerdict
from evaluators.evaluator import Evaluator, evaluator
from evaluators.model import (
    Answer,
    Given,
    Message,
    Outcome,
    Reply,
    Sample,
    Scores,
    Verdict,
    assistant,
    system,
    user,
)
from evaluators.strategies import Prompt

__all__ = [
    "Answer",
    "Context",
    "Evaluator",
    "Given",
    "Message",
    "OracleVerdict",
    "Outcome",
    "Prompt",
    "Reply",
    "Sample",
    "Scores",
    "Verdict",
    "answer_key",
    "assistant",
    "critique",
    "evaluator",
    "metrics",
    "same_answer",
    "strategies",
    "system",
    "user",
]
