"""How likely given texts are: lm-eval's own sums, and the next token's labels in one pass."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from evaluators.model import ChoiceLikelihood
from evaluators.runtimes.server.batcher import Weighing
from evaluators.runtimes.server.protocol import LikelihoodCall, Refused, Weighed, check_fit

_SCORES = {"cpu": 2**28}
"""Most scores of one pass, which lm-eval keeps for every position and word of the vocabulary."""

_SCORES_ELSEWHERE = 2**30
"""The same on accelerators."""

_TOKENS = 16_384
"""Most tokens, padding included, of one pass that keeps the scores of last positions only."""

_TRIED_LABELS = ("A", "1", "a")
"""What the probe looks for; a label of several tokens is no sign that labels cannot be told."""

_log = logging.getLogger(__name__)
_Pair = tuple[list[int], list[int]]
"""Tokens of a prompt, and of a choice behind it."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A likelihood call in tokens."""

    call: LikelihoodCall
    text: str
    """The prompt as lm-eval renders it."""
    pairs: tuple[_Pair, ...]


class Scales(Protocol):
    """What weighs choices behind rendered prompts."""

    def prepare(self, call: LikelihoodCall, text: Any) -> Weighing:
        """Tokenise, or raise Refused."""
        ...

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        """Answer calls that have waited together, in their order."""
        ...


class TokenScales:
    """Weighs with a Hugging Face model whose forward passes are its own."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._device = torch.device(lm.device)
        self._keeps = _keeps_some(lm.model)
        self._vocabulary = int(getattr(lm.model.config, "vocab_size", 0) or len(lm.tokenizer))
        self._scores = _SCORES.get(self._device.type, _SCORES_ELSEWHERE)

    def prepare(self, call: LikelihoodCall, text: str) -> Weighing:
        """Split every prompt with its choice into tokens, exactly as lm-eval does."""
        if getattr(self._lm, "enable_thinking", False):
            raise Refused("a model that thinks first cannot weigh what comes next")
        encode = self._encode_label if call.labels else self._encode
        pairs = tuple(encode(text, choice) for choice in call.choices)
        for choice, (_, tokens) in zip(call.choices, pairs, strict=True):
            if not tokens:
                raise Refused(f"the choice {choice!r} adds no token to its prompt")
            if call.labels and len(tokens) != 1:
                raise Refused(f"the label {choice!r} is {len(tokens)} tokens, not one")
        # The last token of a choice is never read by the model, only looked up.
        longest = max(len(tokens) for _, tokens in pairs)
        check_fit(len(pairs[0][0]), longest, int(self._lm.max_length) + 1)
        return Weighing(_Encoded(call, text, pairs), 1 if call.labels else len(pairs))

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed]:
        """Sum by `LM.loglikelihood`; read labels off the last position."""
        calls = [cast("_Encoded", weighing.prompt) for weighing in waiting]
        labelled = iter(self._labels([call for call in calls if call.call.labels]))
        summed = iter(self._sums([call for call in calls if not call.call.labels]))
        return [next(labelled if call.call.labels else summed) for call in calls]

    def _encode(self, text: str, choice: str) -> _Pair:
        """Do what `TemplateLM.loglikelihood` does before it computes."""
        if text:
            context, tokens = self._lm._encode_pair(text, choice)  # noqa: SLF001 - the only way to parity
            return list(context), list(tokens)
        tokens = list(self._lm.tok_encode(choice, add_special_tokens=False))
        begin = self._lm.prefix_token_id
        return (tokens[:1], tokens[1:]) if tokens[:1] == [begin] else ([begin], tokens)

    def _encode_label(self, text: str, label: str) -> _Pair:
        """Leave white space at the prompt's end with the prompt, where a template puts its own.

        lm-eval moves it to the choice, which would make two tokens of a label behind a line break.
        """
        context = list(self._lm.tok_encode(text))
        whole = list(self._lm.tok_encode(text + label))
        if context and whole[: len(context)] == context:
            return context, whole[len(context) :]
        return self._encode(text, label)

    def _sums(self, calls: Sequence[_Encoded]) -> Iterator[Weighed]:
        requests = [
            ((call.text, choice), *pair)
            for call in calls
            for choice, pair in zip(call.call.choices, call.pairs, strict=True)
        ]
        answers = iter(self._answers(requests))
        for call in calls:
            choices = tuple(
                _likelihood(choice, next(answers), len(tokens))
                for choice, (_, tokens) in zip(call.call.choices, call.pairs, strict=True)
            )
            yield Weighed(choices, sum(len(a) + len(b) for a, b in call.pairs))

    def _answers(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Have lm-eval compute, no more at a time than the memory for its scores allows."""
        order = sorted(
            range(len(requests)), key=lambda i: (-len(requests[i][1] + requests[i][2]), i)
        )
        answers: dict[int, tuple[float, bool]] = {}
        while order:
            longest = sum(map(len, requests[order[0]][1:]))
            count = max(1, self._scores // (longest * self._vocabulary))
            part, order = order[:count], order[count:]
            found = self._lm._loglikelihood_tokens(  # noqa: SLF001 - the half of loglikelihood behind the tokenizer
                [requests[index] for index in part], disable_tqdm=True
            )
            answers |= zip(part, found, strict=True)
        return [answers[index] for index in range(len(requests))]

    def _labels(self, calls: Sequence[_Encoded]) -> Iterator[Weighed]:
        prompts = [call.pairs[0][0] for call in calls]
        for call, row in zip(calls, self._next_token(prompts), strict=True):
            likeliest = int(row.argmax())
            choices = tuple(
                ChoiceLikelihood(label, float(row[token]), 1, token == likeliest)
                for label, (_, (token,)) in zip(call.call.choices, call.pairs, strict=True)
            )
            yield Weighed(choices, len(call.pairs[0][0]))

    @torch.inference_mode()
    def _next_token(self, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
        """Return the log-probabilities of the token after each prompt."""
        rows: dict[int, torch.Tensor] = {}
        for part in self._parts(prompts):
            scores = self._last_scores([prompts[index] for index in part])
            rows |= zip(part, scores.log_softmax(-1, dtype=torch.float32).cpu(), strict=True)
        return [rows[index] for index in range(len(prompts))]

    def _parts(self, prompts: Sequence[list[int]]) -> Iterator[list[int]]:
        """Yield places of prompts of like length, as many as one pass takes."""
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        most = max(1, int(self._lm.batch_size))
        while order:
            longest = len(prompts[order[0]])
            room = _TOKENS if self._keeps else self._scores // self._vocabulary
            count = min(most, max(1, room // longest))
            yield order[:count]
            order = order[count:]

    def _last_scores(self, prompts: Sequence[list[int]]) -> torch.Tensor:
        """Read prompts padded on the right, as lm-eval does: no position looks at what follows."""
        longest = max(map(len, prompts))
        ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
        ids = ids.to(self._device)
        last = [len(prompt) - 1 for prompt in prompts]
        if not self._keeps:
            scores = self._lm._model_call(ids)  # noqa: SLF001 - the forward pass with lm-eval's settings
            # Learned prompts stand before the tokens.
            return _picked(scores, [place + scores.shape[1] - longest for place in last])
        kept = sorted(set(last))
        mixed = self._lm.mixed_precision_dtype
        with torch.autocast(self._device.type, dtype=mixed, enabled=mixed is not None):
            scores = self._lm.model(ids, logits_to_keep=torch.tensor(kept).to(ids)).logits
        return _picked(scores, [kept.index(place) for place in last])


def _picked(scores: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """Return the scores at one position of every row."""
    return torch.stack([row[place] for row, place in zip(scores, places, strict=True)])


def _likelihood(choice: str, answer: tuple[float, bool], tokens: int) -> ChoiceLikelihood:
    logprob, greedy = answer
    return ChoiceLikelihood(choice, float(logprob), tokens, bool(greedy))


def _keeps_some(model: Any) -> bool:
    """Tell whether a forward pass can be asked for the scores of some positions only."""
    forward = inspect.signature(model.forward).parameters
    return "logits_to_keep" in forward and not hasattr(model, "peft_config")


def probe(scales: Scales) -> frozenset[str]:
    """Weigh something, and return which likelihoods could be told."""
    tried = {
        "echo": [LikelihoodCall((" there", " you all"))],
        "label_likelihood": [LikelihoodCall((label,), labels=True) for label in _TRIED_LABELS],
    }
    return frozenset(name for name, calls in tried.items() if any(_told(scales, c) for c in calls))


def _told(scales: Scales, call: LikelihoodCall) -> bool:
    try:
        (weighed,) = scales.weigh([scales.prepare(call, "Hello")])
    except Exception as error:  # noqa: BLE001 - model classes refuse in many ways, and all mean no
        _log.info("Likelihoods cannot be told: %s", error)
        return False
    return isinstance(weighed, Weighed) and all(
        math.isfinite(choice.logprob) for choice in weighed.choices
    )
