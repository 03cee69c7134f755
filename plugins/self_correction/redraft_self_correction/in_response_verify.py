"""In-response verification: one response that solves, checks itself, and solves again."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Answer,
    Context,
    Outcome,
    Prompt,
    Sample,
    Verdict,
    evaluator,
    metrics,
    strategies,
)
from redraft_self_correction.measures import flagged_c2i, flagged_i2c
from redraft_self_correction.segments import segments

SOLVE_AND_CHECK = Prompt.load("redraft_self_correction", "in_response_verify/solve_and_check")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, flagged_i2c, flagged_c2i],
    source="2502.12853",
)
async def in_response_verify(
    ctx: Context, sample: Sample, *, max_tokens: Annotated[int, Ge(64), Le(8192)] = 768
) -> Outcome:
    """Have one response solve, check and, until its own verdict approves, solve again.

    The inference of S2R (Ma et al., arXiv 2502.12853), whose models are trained to it; here the
    question asks for it. Every solution within the response is an answer, every check a verdict
    on the solution before it; what follows an approval is left out. A check that states no
    verdict counts as unreadable. The task's stop strings do not apply, as they would cut the
    response at its first answer. Calls: 1.

    Args:
        max_tokens: Token limit of the whole response, in place of the task's.
    """
    chat = strategies.instructed(sample.messages, SOLVE_AND_CHECK.message())
    reply = await ctx.generate(chat, max_tokens=max_tokens, stop=())
    answers: list[Answer] = []
    verdicts: list[Verdict] = []
    for segment in segments(reply.text):
        if segment.solution or not answers:
            answers.append(Answer(segment.solution, reply.node))
        if segment.checked:
            verdicts.append(Verdict(len(answers) - 1, segment.value, reply.node))
    approved = verdicts[-1].value == "correct"
    reason = strategies.APPROVED if approved else "the response ended"
    facts = {"judged": [verdict.answer for verdict in verdicts]}
    return Outcome(answers, verdicts, facts, reason)
