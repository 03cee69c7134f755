"""Tasks that begin the answer: judges see all of it, and need not go on with it."""

from dataclasses import replace

import pytest

from evaluators.api import Evaluator, assistant
from evaluators.testing import ScriptedContext
from redraft_self_correction.ask_refine_trust import ask_refine_trust
from redraft_self_correction.checklist_score import checklist_score
from redraft_self_correction.critic_cot import critic_cot
from redraft_self_correction.critic_in_loop import critic_in_loop
from redraft_self_correction.generic_refine import generic_refine
from redraft_self_correction.progco import progco

BEGUN = assistant("def area(side):")
SCRIPT = [" return side", "1. Is it a function?", "Verdict: wrong", " return side ** 2"]


@pytest.mark.parametrize(
    "method",
    [ask_refine_trust, checklist_score, critic_cot, critic_in_loop, generic_refine, progco],
    ids=lambda method: method.name,
)
async def test_judges_see_the_whole_answer_and_write_their_own(method: Evaluator) -> None:
    ctx = ScriptedContext(SCRIPT)
    sample = replace(ctx.sample, messages=(*ctx.sample.messages, BEGUN))
    await method(ctx, sample, **method.params().model_dump())
    judging = [node for node in ctx.nodes if node.kind in {"critique", "verify", "select"}]
    assert not [node.messages[-1].content for node in judging if node.messages[-1] == BEGUN]
    assert any("def area(side): return side\n" in node.messages[-1].content for node in judging)
