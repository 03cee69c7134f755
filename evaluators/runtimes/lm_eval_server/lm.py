"""What we use of lm-eval, which has no types, with the types we rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval.api.instance import Instance  # type: ignore[import-untyped]  # lm-eval has no types
from lm_eval.api.registry import get_model  # type: ignore[import-untyped]  # lm-eval has no types
from lm_eval.models.utils import (  # type: ignore[import-untyped]  # lm-eval has no types
    handle_stop_sequences,
    postprocess_generated_text,
)


def create(model: str, args: Mapping[str, Any], *, batch_size: int) -> Any:
    """Build the model class of that name, as lm-eval's own evaluation does."""
    return get_model(model).create_from_arg_obj(dict(args), {"batch_size": batch_size})


def model_classes() -> list[str]:
    """Return the names of all registered model classes."""
    import lm_eval.models  # type: ignore[import-untyped]  # noqa: F401 - registers them; no types
    from lm_eval.api.registry import model_registry

    return sorted(model_registry.keys())


def request(prompt: object, settings: Mapping[str, Any], index: int) -> Any:
    """Return one request to generate_until."""
    return Instance("generate_until", {}, (prompt, dict(settings)), index)


def pair(context: object, continuation: str, index: int) -> Any:
    """Return one request to loglikelihood."""
    return Instance("loglikelihood", {}, (context, continuation), index)


def with_eos(stop: tuple[str, ...], eos: str) -> list[str]:
    """Return the stop strings with the end-of-sequence text among them."""
    until: list[str] = handle_stop_sequences(list(stop), eos=eos)
    return until


def trim(text: str, *, stop: list[str] | None, think_end: str | None) -> str:
    """Return what lm-eval keeps of a generated text."""
    kept: str = postprocess_generated_text(text, stop=stop, think_end_token=think_end)
    return kept


def is_plain_hf(lm: object) -> bool:
    """Tell whether the model's text comes from plain forward passes of one causal model."""
    from lm_eval.models.huggingface import (  # type: ignore[import-untyped]  # lm-eval has no types
        HFLM,
    )

    return (
        isinstance(lm, HFLM)
        and type(lm).generate_until is HFLM.generate_until
        # A class that overrides this needs more than forward passes.
        and type(lm)._model_generate is HFLM._model_generate  # noqa: SLF001 - see above
        and lm.backend == "causal"
        and lm.world_size == 1
    )
