"""A model that says what a test tells it to, and a task whose gold answer is known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from evaluators.answers import same_answer
from evaluators.context import Context
from evaluators.engine import Limits, evaluate
from evaluators.errors import RuntimeUnavailable
from evaluators.evaluator import Evaluator
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    Given,
    Grade,
    LikelihoodRequest,
    Likelihoods,
    Sample,
    SampleResult,
    Sampling,
    TokenLogprob,
    Usage,
    system,
    user,
)
from evaluators.ports import TaskInfo

MARK = "Answer:"
"""What stands before the final answer in scripted replies; without it the whole reply counts."""

Weigher = Callable[[LikelihoodRequest], Sequence[float]]
"""Log-likelihoods of a request's choices."""

Surety = Callable[[str], float]
"""Log-probability of a word that the model writes."""

Script = Sequence[str] | Callable[[ChatRequest | LikelihoodRequest], str]
"""Replies in the order of calls, the last one repeated; or a function of the request."""

_WORD = re.compile(r"\s*\S+")


class ScriptedModel:
    """A model that replies from a script and remembers what it was asked.

    Args:
        script: Replies in order, the last one repeated, or a function of the request.
        capabilities: What it claims to be able to do.
        delay: Seconds that every call takes.
        fail_after: Calls that succeed before it behaves like a dead runtime; None is never.
        weigh: Log-likelihoods of the choices of a request; by default the scripted reply is sure
            and all other choices have e⁻⁹ each.
        sure: Log-probability of each word of a reply, told where a call asks for it.
    """

    def __init__(
        self,
        script: Script,
        *,
        capabilities: Sequence[str] = (
            "chat",
            "prefix",
            "echo",
            "label_likelihood",
            "token_logprobs",
        ),
        delay: float = 0.0,
        fail_after: int | None = None,
        weigh: Weigher | None = None,
        sure: Surety = lambda _: -0.5,
    ) -> None:
        self._script = script
        self._sure = sure
        self._delay = delay
        self._fail_after = fail_after
        self.fingerprint = "scripted"
        self.capabilities = frozenset(capabilities)
        self.context_window = 1 << 20
        self.requests: list[ChatRequest | LikelihoodRequest] = []
        self._weigh = weigh

    async def complete(self, request: ChatRequest) -> Completion:
        """Reply from the script; tokens are counted as words.

        Raises:
            RuntimeUnavailable: `fail_after` calls were made.
        """
        text = await self._turn(request)
        usage = Usage(_words(request), len(text.split()))
        if request.sampling.logprobs is None:
            return Completion(text, "stop", usage)
        told = [TokenLogprob(word, self._sure(word.strip())) for word in _WORD.findall(text)]
        return Completion(text, "stop", usage, logprobs=tuple(told))

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Weigh the choices; tokens are counted as words.

        Raises:
            RuntimeUnavailable: `fail_after` calls were made.
        """
        likely = await self._turn(request)
        weights = (
            [0.0 if choice.strip() == likely.strip() else -9.0 for choice in request.choices]
            if self._weigh is None
            else self._weigh(request)
        )
        choices = tuple(
            ChoiceLikelihood(text, weight, max(1, len(text.split())), weight == max(weights))
            for text, weight in zip(request.choices, weights, strict=True)
        )
        return Likelihoods(choices, Usage(_words(request), 0))

    async def _turn(self, request: ChatRequest | LikelihoodRequest) -> str:
        if self._fail_after is not None and len(self.requests) >= self._fail_after:
            raise RuntimeUnavailable(reason="the scripted runtime has died")
        turn = len(self.requests)
        self.requests.append(request)
        await asyncio.sleep(self._delay)
        return self._reply(request, turn)

    def _reply(self, request: ChatRequest | LikelihoodRequest, turn: int) -> str:
        if callable(self._script):
            return self._script(request)
        return self._script[min(turn, len(self._script) - 1)]


class ScriptedTask:
    """A task of one's own making: questions with known answers.

    Args:
        gold: Gold answer by sample id.
        sampling: How answer calls are decoded.
        choices: Options of every question, the right one among them; the task is then put by
            likelihood.
        given: A solution to every question, for methods that judge one.
        given_correct: Its stored label; None has it graded like any answer.
        first_error: Its first wrong step, from 0; -1 says that there is none.
    """

    def __init__(
        self,
        gold: Mapping[str, str] | None = None,
        *,
        sampling: Sampling | None = None,
        choices: Sequence[str] = (),
        given: Given | None = None,
        given_correct: bool | None = None,
        first_error: int | None = None,
    ) -> None:
        self._gold = dict(gold or {"0": "42"})
        self._choices = tuple(choices)
        self._given = given
        self._given_correct = given_correct
        self._first_error = first_error
        self.info = TaskInfo(
            name="scripted",
            version="1",
            size=len(self._gold),
            sampling=sampling or Sampling(max_tokens=64),
            metric="exact_match",
            filter="none",
            threshold=1.0,
            num_fewshot=0,
            summary="Questions of a test.",
            digest="scripted",
            filters=("none",),
            config={},
            mode="likelihood" if choices else "generate_until",
        )

    async def samples(self, limit: int | None = None) -> Sequence[Sample]:
        """Return the samples in order."""
        return [self.sample(sample_id) for sample_id in list(self._gold)[:limit]]

    def sample(self, sample_id: str) -> Sample:
        """Return one sample: a system prompt and a question that does not give gold away."""
        question = user(f"What is the answer to question {sample_id}?")
        prompt = (system("Answer briefly."), question)
        return Sample(
            sample_id, "scripted", prompt, (question,), choices=self._choices, given=self._given
        )

    async def grade(
        self, sample_id: str, answers: Sequence[str | Sequence[ChoiceLikelihood]]
    ) -> Sequence[Grade]:
        """Grade by comparing what stands after the last `Answer:` with gold.

        Of likelihoods, the likeliest choice is the answer.
        """
        gold = self._gold[sample_id]
        return [self._labelled(_grade(_text(answer), gold), answer) for answer in answers]

    def _labelled(self, grade: Grade, answer: str | Sequence[ChoiceLikelihood]) -> Grade:
        if self._given is None or answer != self._given.text:
            return grade
        correct = grade.correct if self._given_correct is None else self._given_correct
        scores = dict.fromkeys(grade.scores, float(correct))
        return replace(
            grade,
            correct=correct,
            score=float(correct),
            scores=scores,
            first_error=self._first_error,
        )

    async def extract(self, sample_id: str, text: str) -> str | None:
        """Return what stands after the last `Answer:`; None when it is blank."""
        del sample_id
        return _extract(text)


class ScriptedContext(Context):
    """A context for unit tests of an evaluator: scripted replies, known gold.

    Args:
        script: What the model replies.
        gold: The right answer to the sample.
        choices: Options of the question, for methods that weigh them.
        weigh, sure: Log-likelihoods of choices and of words, as `ScriptedModel` takes them.
        given, given_correct, first_error: A solution to judge, as `ScriptedTask` takes it.
    """

    def __init__(
        self,
        script: Script = (MARK,),
        *,
        gold: str = "42",
        choices: Sequence[str] = (),
        weigh: Weigher | None = None,
        sure: Surety = lambda _: -0.5,
        given: Given | None = None,
        given_correct: bool | None = None,
        first_error: int | None = None,
    ) -> None:
        self.model = ScriptedModel(script, weigh=weigh, sure=sure)
        task = ScriptedTask(
            {"0": gold},
            choices=choices,
            given=given,
            given_correct=given_correct,
            first_error=first_error,
        )
        super().__init__(task.sample("0"), models={"actor": self.model}, task=task)


async def play(
    evaluator: Evaluator,
    script: Script = (MARK,),
    *,
    gold: str = "42",
    choices: Sequence[str] = (),
    weigh: Weigher | None = None,
    sure: Surety = lambda _: -0.5,
    given: Given | None = None,
    given_correct: bool | None = None,
    first_error: int | None = None,
    **params: object,
) -> SampleResult:
    """Run an evaluator on one scripted sample through the real engine and return its result.

    A method that cannot work on written answers gets three options, gold first, unless the caller
    names others.
    """
    if not choices and "generate_until" not in evaluator.modes:
        choices = [f"{MARK} {text}" for text in (gold, f"not {gold}", "neither")]
    task = ScriptedTask(
        {"0": gold},
        choices=choices,
        given=given,
        given_correct=given_correct,
        first_error=first_error,
    )
    results: list[SampleResult] = []

    async def keep(result: SampleResult) -> None:
        results.append(result)

    await evaluate(
        evaluator,
        params,
        task=task,
        samples=await task.samples(),
        models={"actor": ScriptedModel(script, weigh=weigh, sure=sure)},
        sink=keep,
        limits=Limits(sample_seconds=30),
    )
    return results[0]


def _words(request: ChatRequest | LikelihoodRequest) -> int:
    return sum(len(message.content.split()) for message in request.messages)


def _text(answer: str | Sequence[ChoiceLikelihood]) -> str:
    if isinstance(answer, str):
        return answer
    return max(answer, key=lambda choice: choice.logprob).text


def _extract(text: str) -> str | None:
    answer = text.rsplit(MARK, 1)[-1].strip()
    return answer or None


def _grade(text: str, gold: str) -> Grade:
    extracted = _extract(text)
    correct = same_answer(extracted, gold)
    score = float(correct)
    return Grade(correct, score, extracted, gold, {"exact_match,none": score}, {"none": extracted})
