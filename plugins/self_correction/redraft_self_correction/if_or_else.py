"""If or else: keep the answer if confident, else change it; settle where the two answers differ."""

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics, same_answer

RECONSIDER = Prompt.load("redraft_self_correction", "if_or_else/reconsider")
SETTLE = Prompt.load("redraft_self_correction", "if_or_else/settle")


@evaluator(metrics=[*metrics.decomposition], source="2402.12563")
async def if_or_else(ctx: Context, sample: Sample) -> Outcome:
    """Let the model keep its answer if it is confident, and settle where it changes its mind.

    If-or-Else prompting after Li et al. (arXiv 2402.12563): a neutral second turn, then a decision
    turn only if the two extracted answers differ. Answers are compared with each other and never
    with gold, as the authors' code does for HotpotQA; two answers that cannot be extracted
    differ. The paper decodes greedily; here every turn follows the task. Calls: at most 3, and 2
    where the answers agree.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    chat += [answers[0].message, RECONSIDER.message()]
    answers.append(await ctx.generate(chat))
    found = [await ctx.extract(answer) for answer in answers]
    if same_answer(*found):
        return Outcome(answers, stop_reason="both answers agree")
    chat += [answers[1].message, SETTLE.message()]
    answers.append(await ctx.generate(chat, agent="decision"))
    return Outcome(answers, stop_reason="the answers differed and one was settled on")
