"""Critique by correction: a critique is as good as the correction that comes of it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from evaluators.api import (
    Answer,
    Context,
    Message,
    Outcome,
    Prompt,
    Reply,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
    strategies,
)

CRITIC = Prompt.load("redraft_critique", "critique_by_correction/critic")
TEMPLATES = {
    "open": Prompt.load("redraft_critique", "critique_by_correction/open"),
    "presuming": Prompt.load("redraft_critique", "critique_by_correction/presuming"),
}
DOUBT = Prompt.load("redraft_critique", "critique_by_correction/doubt")
CHECK = Prompt.load("redraft_critique", "critique_by_correction/check")

STOPS = ("</s>", "<|im_end|>", "<|endoftext|>")
"""Where critiques end besides, as the authors' do: models without a chat write these out."""


@evaluator(
    metrics=[*metrics.decomposition, *metrics.critique],
    roles=["critic", "judge"],
    source="2501.14492",
)
async def critique_by_correction(
    ctx: Context,
    sample: Sample,
    *,
    own: bool = False,
    turns: Annotated[int, Ge(1), Le(8)] = 1,
    template: Literal["open", "presuming"] = "open",
    check: bool = False,
    temperature: Annotated[float, Ge(0), Le(2)] = 0.0,
    max_tokens: Annotated[int, Ge(64), Le(8192)] = 2048,
) -> Outcome:
    """Criticise a solution step by step, give a verdict and correct it; the correction is graded.

    RealCritic (arXiv 2501.14492): cross-critique of a given solution, or self-critique of the
    model's own answer. One reply holds critique, verdict, first wrong step and
    correction in a fixed layout; a reply without correction is graded as a whole, as the authors
    do, except its conclusion, and counted. Keeping every solution gives `acc@1`, so `delta` is the
    gain over that; the gain over direct answers is a comparison with `single_pass`. Every turn is
    an answer state, so one run gives the curve over turns; the verdict is the last turn's. Answers
    have the form of the question, not always a box. Calls: turns, one more for an answer of its
    own, one more with the check.

    Args:
        own: Judge the model's own answer even where the task gives a solution: self-critique.
        turns: Critiques; before each but the first a message doubts the one before.
        template: Whether the critic is told nothing of the solution, or that it is incorrect, which
            biases the verdict.
        check: Whether a judge labels the last critique as qualified: it criticises before it
            corrects, and corrects what it found.
        temperature: Of the critiques; 0 is greedy.
        max_tokens: Limit of each critique with its correction.
    """
    solution = await critique.subject(ctx, sample, own=own)
    shown = {
        "question": strategies.question_text(sample),
        "solution": critique.quoted(_text(sample, solution), critique.LABEL),
    }
    chat = [CRITIC.system(), TEMPLATES[template].message(**shown)]
    limits = {"temperature": temperature, "max_tokens": max_tokens, "stop": STOPS}
    replies = await _turns(ctx, chat, turns, {"parents": [solution.node], **limits})
    found = [critique.parse_critique(reply.text) for reply in replies]
    checked = {"qualified": await _qualified(ctx, shown, replies[-1])} if check else {}
    corrected = [Answer(one.answer, r.node) for one, r in zip(found, replies, strict=True)]
    return Outcome(
        [solution, *corrected],
        [Verdict(0, found[-1].verdict, replies[-1].node, step=found[-1].step)],
        facts={
            "locates": True,
            "own": isinstance(solution, Reply),
            "correction_missing": found[-1].correction is None,
            "verdicts": [one.verdict for one in found],
            "steps": [one.step for one in found],
            **checked,
        },
    )


async def _turns(
    ctx: Context, chat: Sequence[Message], turns: int, asking: Mapping[str, Any]
) -> list[Reply]:
    """Have the solution criticised, and every critique but the last doubted."""
    replies: list[Reply] = []
    for turn in range(1, turns + 1):
        if replies:
            chat = [*chat, replies[-1].message, DOUBT.message()]
        reply = await ctx.generate(chat, kind="critique", role="critic", round=turn, **asking)
        replies.append(reply)
    return replies


def _text(sample: Sample, solution: Reply | Answer) -> str:
    """Return the solution as it is shown: by numbers, where the task gives its steps."""
    given = sample.given
    if given is None or not given.steps or solution.text != given.text:
        return solution.text
    return critique.numbered_steps(given.steps)


async def _qualified(ctx: Context, shown: Mapping[str, str], reply: Reply) -> bool | None:
    """Have a judge label a critique; None where its label cannot be read."""
    asked = CHECK.message(**shown, critique=critique.quoted(reply.text, "critique"))
    label = await ctx.generate([asked], kind="verify", role="judge", parents=[reply])
    own = critique.own_words(label.text, critique.LABEL, "critique")
    value = critique.POLICIES["realcritic_check"].read(own)
    return None if value is None else value == "correct"
