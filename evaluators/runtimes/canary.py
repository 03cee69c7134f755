"""One token from a running model: the only proof that it lives, for its port may answer without."""

from __future__ import annotations

import asyncio
import time

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.model import ChatRequest, Message, Sampling
from evaluators.ports import Model

SECONDS = 60.0
"""How long one token may take behind everything else that is in flight."""

_ANSWERED = 200

_REQUEST = ChatRequest((Message("user", "Hello"),), Sampling(max_tokens=1))


async def canary(model: Model, *, seconds: float = SECONDS) -> float:
    """Have the model generate one token; return the seconds that it took.

    Raises:
        RuntimeUnavailable: No token came in time, or the runtime failed.
    """
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            completion = await model.complete(_REQUEST)
    except TimeoutError as error:
        reason = f"the runtime answers, but no token came out of it within {seconds:g} s"
        raise RuntimeUnavailable(reason=reason) from error
    except CallRefused as error:
        if error.data.get("status") == _ANSWERED:  # tokens came, though none that are an answer
            return time.monotonic() - started
        reason = f"the runtime refuses a request of one word: {error}"
        raise RuntimeUnavailable(reason=reason) from error
    # An endpoint may count no tokens; its text is as good a proof.
    if not (completion.text or completion.usage.completion_tokens):
        raise RuntimeUnavailable(reason="the runtime answers, but its answers hold no token")
    return time.monotonic() - started
