"""How each benchmark reads a verdict, and what it makes of one that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from evaluators.critique.verdicts import Judged, parse_verdict, stated

Unread = Literal["error", "correct", "wrong", "left_out"]
"""What an unreadable verdict counts as; see `evaluators.metrics.verification`."""

Choice = Literal["first", "second", "tie"]

_BRACKETS = re.compile(r"\[\[\s*([^\]]{1,40}?)\s*\]\]")
_WRONG_WORDS = re.compile(r"wrong|incorrect|not correct", re.IGNORECASE)
_VERDICT_KEY = re.compile(r'"?verdict"?\s*:\s*"([^"\n]{1,40})"', re.IGNORECASE)
_CONCLUSION = re.compile(
    r"conclusion[\s\S]{0,400}?"
    r"\b(?:(?P<wrong>incorrect|not(?:\s+\w+){0,2}\s+correct)|"
    r"(?P<partly>(?:partially|partly|mostly|largely|almost|nearly)\s+correct)|correct)\b",
    re.IGNORECASE,
)
_QUALIFIED = re.compile(
    r"\\boxed\{[\s*_]*(?:\\text\w*\{)?\s*(un)?qualified[\s.*_]*\}", re.IGNORECASE
)
_IS_CORRECT = re.compile(r"is_assistant_correct\W{0,6}([^}]{0,200})", re.IGNORECASE)
_ARENA = re.compile(r"\[\[\s*([AB])\s*([>=<])[>=<]?\s*([AB])\s*\]\]")
_DECISION = re.compile(r"(?i:decision)\s*:\W{0,4}([ABC])\b")
_BOXED_INTEGER = re.compile(r"\\boxed\{\s*(-?\d{1,6})\s*\}")
_NO_OR_STEP = re.compile(r"\W*(?:(no)\b|(?:step\s*)?(\d{1,6}))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Policy:
    """One benchmark's way with verdicts on single answers."""

    name: str
    source: str
    read: Callable[[str], Judged | None]
    unread: Unread
    summary: str


@dataclass(frozen=True, slots=True)
class PairPolicy:
    """One benchmark's way with a choice between two responses."""

    name: str
    source: str
    read: Callable[[str], Choice | None]
    headline: str
    """The figure that the benchmark reports."""
    summary: str


def read_luo(text: str) -> Judged | None:
    """Read the last `Judgment: correct.` or `Judgment: incorrect.`."""
    found = stated(text, mark=r"\bjudge?ment\s*:", yes="correct", no="incorrect")
    return _judged(bool(found[-1]["yes"])) if found else None


def read_thu(text: str) -> Judged | None:
    """Read `[[correct]]` or `[[wrong]]`, the key `verdict` of JSON, or words, blame first."""
    lower = text.lower()
    marks = {mark.strip() for mark in _BRACKETS.findall(lower)} & {"correct", "wrong"}
    if len(marks) == 1:
        return _judged(marks == {"correct"})
    if not marks and (keyed := _VERDICT_KEY.findall(lower)):
        lower = keyed[-1]
    if _WRONG_WORDS.search(lower):
        return "wrong"
    return "correct" if "correct" in lower else None


def read_realcritic(text: str) -> Judged | None:
    """Read `Correct` or `Incorrect` behind the last heading of a conclusion; partly is neither."""
    found = list(_CONCLUSION.finditer(text))
    if not found or found[-1]["partly"]:
        return None
    return _judged(not found[-1]["wrong"])


def read_qualified(text: str) -> Judged | None:
    r"""Read the last `\boxed{Qualified}` or `\boxed{Unqualified}`."""
    found = list(_QUALIFIED.finditer(text))
    return _judged(not found[-1].group(1)) if found else None


def read_code_critic(text: str) -> Judged | None:
    """Read what follows `is_assistant_correct`, blame first: "Incorrect" holds "correct" too."""
    found = _IS_CORRECT.findall(text)
    if not found:
        return None
    said = found[-1].lower()
    if re.search(r"incorrect|not correct|\bfalse\b|\bno\b", said):
        return "wrong"
    return "correct" if re.search(r"correct|\btrue\b|\byes\b", said) else None


def read_arena(text: str) -> Choice | None:
    """Read `[[A>B]]` and its like; several that differ are none."""
    found = {_arena(a, sign, b) for a, sign, b in _ARENA.findall(text)}
    return found.pop() if len(found) == 1 else None


def _arena(left: str, sign: str, right: str) -> Choice | None:
    if left == right:
        return None
    if sign == "=":
        return "tie"
    better = left if sign == ">" else right
    return "first" if better == "A" else "second"


def read_decision(text: str) -> Choice | None:
    """Read the first `Decision: A`, `B` or `C`, where C is a tie."""
    found = _DECISION.search(text)
    return {"A": "first", "B": "second", "C": "tie"}[found[1]] if found else None  # type: ignore[return-value]  # the three choices


def read_boxed_step(text: str) -> int | None:
    r"""Read the last `\boxed{n}`: a step from 0, or -1 for no mistake (ProcessBench)."""
    found = _BOXED_INTEGER.findall(text)
    step = int(found[-1]) if found else None
    return step if step is not None and step >= -1 else None


def read_no_or_step(text: str) -> int | None:
    """Read `No`, or a step from 1 as one from 0 (BIG-Bench Mistake, direct trace)."""
    found = _NO_OR_STEP.match(text)
    if not found:
        return None
    step = -1 if found[1] else int(found[2]) - 1
    return step if found[1] or step >= 0 else None


def _judged(approves: bool) -> Judged:
    return "correct" if approves else "wrong"


POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("redraft", "Redraft's own critique prompts", parse_verdict, "error",
               "last `Verdict: …`; unreadable counts as a mistake"),
        Policy("luo", "Luo et al., 2310.04815", read_luo, "correct",
               "`Judgment: …`; unreadable counts as \"correct\""),
        Policy("thu", "CriticBench, Lin et al., 2402.14809", read_thu, "error",
               "`[[correct]]` or `[[wrong]]`, else words; unreadable counts as a mistake"),
        Policy("realcritic", "RealCritic, 2501.14492", read_realcritic, "error",
               "verdict of the conclusion; unreadable counts as a mistake"),
        Policy("realcritic_check", "RealCritic's post check, 2501.14492", read_qualified, "wrong",
               "boxed label of a critique; unreadable counts as unqualified"),
        Policy("code_critic", "CodeCriticBench, 2502.16614", read_code_critic, "error",
               "`is_assistant_correct`, blame first; unreadable counts as a mistake"),
        Policy("left_out", "none", parse_verdict, "left_out",
               "last `Verdict: …`; unreadable does not count, but is counted"),
    )
}  # fmt: skip
"""By name: policies for verdicts on single answers."""

PAIR_POLICIES: Mapping[str, PairPolicy] = {
    policy.name: policy
    for policy in (
        PairPolicy("judgebench", "JudgeBench, 2410.12784", read_arena, "pair_vote_acc",
                   "`[[A>B]]`; votes of both orders, unreadable counts 0"),
        PairPolicy("criticeval", "CriticEval, 2402.13764", read_decision, "pair_strict_acc",
                   "`Decision: A`; right in both orders, unreadable is wrong"),
        PairPolicy("rewardbench", "RewardBench, 2403.13787", read_arena, "pair_win",
                   "`[[A>B]]`; 1, 0, or 1/2 where undecided or unreadable"),
    )
}  # fmt: skip
"""By name: policies for choices between two responses."""

LOCATIONS: Mapping[str, Callable[[str], int | None]] = {
    "processbench": read_boxed_step,
    "bigbench": read_no_or_step,
}
"""By benchmark: how the first wrong step is read, from 0; unreadable is a miss in both."""
