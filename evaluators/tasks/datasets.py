"""The one place that knows the datasets library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def dataset(docs: Sequence[Mapping[str, object]]) -> Any:
    """Return documents in the form that lm-eval wants of a task's splits."""
    from datasets import Dataset  # type: ignore[import-untyped] # it has no types

    return Dataset.from_list([dict(doc) for doc in docs])


def data_errors() -> tuple[type[Exception], ...]:
    """Return what is raised when a data set cannot be fetched."""
    from datasets.exceptions import (  # type: ignore[import-untyped] # it has no types
        DatasetsError,
    )

    return (OSError, DatasetsError)
