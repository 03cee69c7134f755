"""The question whether a solution is correct, put and read in the ways of several benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evaluators.api import Answer, Context, Prompt, Reply, Sample, Verdict, critique, strategies

Wording = Literal["principles", "problems", "verify", "review"]
"""How a critic is asked."""

Way = Literal["luo", "thu", "thu_cot", "redraft"]
"""How a critic is to put its verdict."""

WORDINGS: Mapping[Wording, Prompt] = {
    "principles": Prompt.load("redraft_critique", "critique_accuracy/principles"),
    "problems": Prompt.load("redraft_critique", "critique_accuracy/problems"),
    "verify": Prompt.load("redraft_critique", "critique_accuracy/verify"),
    "review": Prompt.load("redraft_critique", "critique_accuracy/review"),
}

FORMS: Mapping[Way, str] = {
    "luo": "Give a short analysis. Then end with a last line `Judgment: X.`, where X is correct or "
    "incorrect.",
    "thu": "Give a short analysis. Then end with your verdict in double square brackets, [[X]], "
    "where X is correct or wrong.",
    "thu_cot": 'Reply with JSON alone, with the two keys "analysis" and "verdict": first your '
    "analysis as a text, then the verdict, the one word correct or the one word wrong.",
    "redraft": "Give a short analysis. Then end with a last line `Verdict: X`, where X is correct "
    "or wrong.",
}
"""What is said of the verdict; its markers belong to the readers, out of reach of prompt packs."""

TOKENS = 512
"""Limit of a critique, as CriticBench (2402.14809) has it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A critique and the verdict read from it."""

    reply: Reply
    value: Literal["correct", "wrong"] | None
    """None where no verdict could be read."""

    def verdict(self, answer: int = 0, *, score: float | None = None) -> Verdict:
        """Return the verdict on one of a method's answers."""
        return Verdict(answer, self.value, self.reply.node, score)


async def judge(
    ctx: Context,
    sample: Sample,
    solution: Reply | Answer,
    *,
    way: Way,
    wording: Wording,
    temperature: float,
    round: int = 1,  # noqa: A002 - the field's own term
) -> Judged:
    """Ask a critic whether a solution is correct; one call.

    The verdict is read from the critic's own words: what it quotes of the solution says nothing.
    """
    asked = WORDINGS[wording].message(
        question=strategies.question_text(sample),
        solution=critique.quoted(solution.text, critique.LABEL),
        form=FORMS[way],
    )
    reply = await ctx.generate(
        [asked],
        kind="critique",
        role="critic",
        round=round,
        parents=[solution.node],
        temperature=temperature,
        max_tokens=TOKENS,
    )
    policy = critique.POLICIES["thu" if way == "thu_cot" else way]
    return Judged(reply, policy.read(critique.own_words(reply.text, critique.LABEL)))
