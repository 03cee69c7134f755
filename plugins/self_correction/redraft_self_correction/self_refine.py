"""Self-Refine: feedback and refinement until the feedback finds nothing wrong."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    Verdict,
    evaluator,
    metrics,
    strategies,
)

FEEDBACK = Prompt.load("redraft_self_correction", "self_refine/feedback")
REFINE = Prompt.load("redraft_self_correction", "self_refine/refine")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification], roles=["critic"], source="2303.17651"
)
async def self_refine(
    ctx: Context,
    sample: Sample,
    *,
    max_attempts: Annotated[int, Ge(1), Le(10)] = 4,
    feedback_temperature: Annotated[float, Ge(0), Le(2)] = 0.7,
) -> Outcome:
    """Alternate feedback and refinement until the feedback calls the answer correct.

    After Madaan et al. (arXiv 2303.17651): the history accumulates, the first answer and the
    refinements follow the task's decoding, the feedback is sampled. Their code for arithmetic
    asks for feedback and rewritten program in one completion; here they are two calls, so that
    tasks of any kind keep their own answer format. Feedback without a readable verdict never
    stops the loop. Another model may play the critic. Calls: at most 1 + 2 * max_attempts.

    Args:
        max_attempts: Most refinements.
        feedback_temperature: Temperature of the feedback; 0 is greedy.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    verdicts: list[Verdict] = []
    for attempt in range(1, max_attempts + 1):
        chat += [answers[-1].message, FEEDBACK.message()]
        feedback = await strategies.check(
            ctx,
            chat,
            answer=len(answers) - 1,
            kind="critique",
            role="critic",
            round=attempt,
            temperature=feedback_temperature,
        )
        verdicts.append(feedback.verdict)
        if feedback.approves:
            return Outcome(answers, verdicts, stop_reason="feedback found nothing wrong")
        chat += [feedback.reply.message, REFINE.message()]
        answers.append(await ctx.generate(chat, round=attempt))
    return Outcome(answers, verdicts, stop_reason="most attempts made")
