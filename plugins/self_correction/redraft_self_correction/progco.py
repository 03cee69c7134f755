"""ProgCo: a checking program that the model writes, runs in its head, and refines too."""

from dataclasses import replace
from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    critique,
    evaluator,
    metrics,
    same_answer,
    strategies,
)
from redraft_self_correction.measures import refine_decision

PROGRAM, EXECUTE, FEEDBACK, REFINE, CONTRAST, REGENERATE, REWRITE = (
    Prompt.load("redraft_self_correction", f"progco/{name}")
    for name in (
        "program", "execute", "feedback", "refine", "contrast", "regenerate", "rewrite_program",
    )
)  # fmt: skip

LONG = 512
"""Token limit of programs and of their execution."""


def read_result(text: str) -> critique.Judged | None:
    """Read the last `<result>True` or `<result>False`, whatever follows it."""
    found = critique.stated(text, mark=r"<\s*result\s*>", yes="true", no="false")
    if not found:
        return None
    return "correct" if found[-1]["yes"] else "wrong"


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, *refine_decision], source="2501.01264"
)
async def progco(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(5)] = 1,
    dual: bool = True,
) -> Outcome:
    """Write a checking program, run it by hand on the answer, and refine answer and program.

    ProgCo (Song et al., arXiv 2501.01264): from the question alone the model writes a
    pseudo-program that tests answers; it runs it itself, and an answer that passes is kept. For
    one that fails, the run becomes feedback and the answer is refined. In mathematics (`dual`) a
    refinement that changes the answer is contrasted with the one before, a new answer is written
    with that insight, and the program is refined before the next round. Without examples in the
    prompts. A run without a readable result passes nothing.
    Calls: at most 1 + 6 * rounds; not dual, at most 2 + 3 * rounds.

    Args:
        rounds: Most refinements.
        dual: Contrast changed answers and refine the program; their tasks of following
            instructions do without.
    """
    question = critique.quoted(strategies.question_text(sample), "question")
    refined = strategies.refined_by(ctx, sample, REFINE)
    first = await ctx.generate(sample.messages)
    asked = PROGRAM.message(question=question)
    programs = [await ctx.generate([asked], kind="verify", round=0, max_tokens=LONG)]

    async def judge(answer: Reply, number: int) -> strategies.Check:
        run = EXECUTE.message(
            question=question,
            program=critique.quoted(programs[-1].text, "program"),
            response=critique.quoted(answer.message.content, "response"),
        )
        return await strategies.check(
            ctx,
            [run],
            read=read_result,
            round=number,
            parents=[programs[-1], answer],
            max_tokens=LONG,
            labels=("question", "program", "response"),
        )

    async def improve(answer: Reply, checked: strategies.Check, number: int) -> Reply:
        record = FEEDBACK.message(execution=critique.quoted(checked.reply.text, "record"))
        insight = await ctx.generate(
            [record], kind="critique", round=number, parents=[checked.reply]
        )
        new = await refined(answer, replace(checked, reply=insight), number)
        if not dual:
            return new
        if not same_answer(await ctx.extract(answer), await ctx.extract(new)):
            insight, new = await contrasted(ctx, sample, [answer, new], round=number)
        if number < rounds:
            programs.append(await rewritten(ctx, question, programs[-1], insight, round=number))
        return new

    found = await strategies.until_approved(first, rounds=rounds, judge=judge, improve=improve)
    return found.outcome()


async def contrasted(
    ctx: Context,
    sample: Sample,
    responses: list[Reply],
    *,
    round: int,  # noqa: A002 - as in generate
) -> tuple[Reply, Reply]:
    """Find out where two responses part, and return that insight and an answer written with it."""
    asked = CONTRAST.message(
        question=critique.quoted(strategies.question_text(sample), "question"),
        responses=strategies.numbered([response.message.content for response in responses]),
    )
    insight = await ctx.generate([asked], kind="critique", round=round, parents=responses)
    warned = REGENERATE.message(insight=critique.quoted(insight.text, "advice"))
    chat = strategies.instructed(sample.messages, warned)
    return insight, await ctx.generate(chat, round=round, parents=[insight])


async def rewritten(
    ctx: Context,
    question: str,
    program: Reply,
    insight: Reply,
    *,
    round: int,  # noqa: A002 - as in generate
) -> Reply:
    """Return the program, refined in the light of an insight."""
    asked = REWRITE.message(
        question=question,
        program=critique.quoted(program.text, "program"),
        insight=critique.quoted(insight.text, "advice"),
    )
    parents = [program, insight]
    return await ctx.generate([asked], kind="verify", round=round, parents=parents, max_tokens=LONG)
