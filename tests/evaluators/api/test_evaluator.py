"""An evaluator's name, summary, form and parameters come from its function."""

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, evaluator, metrics
from evaluators.errors import BadParameter


@evaluator(metrics=[*metrics.decomposition])
async def method(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 2,
    style: Literal["kind", "harsh"] = "kind",
    bold: bool = False,
    weight: Annotated[float, Ge(0)] = 0.5,
) -> Outcome:
    """Do something.

    More about it.

    Args:
        rounds: How often.
        style: In which tone.
    """
    raise AssertionError


class TestDescription:
    def test_comes_from_name_and_docstring(self) -> None:
        assert (method.name, method.summary) == ("method", "Do something.")
        assert method.description == "More about it."

    def test_schema_carries_ranges_choices_defaults_and_texts(self) -> None:
        properties = method.schema()["properties"]
        assert properties["rounds"] == {
            "default": 2, "description": "How often.", "maximum": 8, "minimum": 1,
            "title": "Rounds", "type": "integer",
        }  # fmt: skip
        assert properties["style"]["enum"] == ["kind", "harsh"]
        assert properties["bold"]["type"] == "boolean"


class TestBind:
    def test_fills_in_defaults(self) -> None:
        assert method.bind({}) == {"rounds": 2, "style": "kind", "bold": False, "weight": 0.5}

    def test_reads_numbers_from_forms_and_command_lines(self) -> None:
        bound = method.bind({"rounds": "3", "bold": "true", "weight": "1e-1"})
        assert bound == {"rounds": 3, "style": "kind", "bold": True, "weight": 0.1}

    @pytest.mark.parametrize(
        ("params", "name", "reason"),
        [
            ({"rounds": 0}, "rounds", "greater than or equal to 1"),
            ({"rounds": 9}, "rounds", "less than or equal to 8"),
            ({"rounds": "two"}, "rounds", "valid integer"),
            ({"rounds": 1.5}, "rounds", "valid integer"),
            ({"style": "rude"}, "style", "'kind' or 'harsh'"),
            ({"weight": float("nan")}, "weight", "finite"),
            ({"round": 1}, "round", "known parameters: rounds, style, bold, weight"),
        ],
        ids=["low", "high", "word", "fraction", "choice", "nan", "unknown"],
    )
    def test_refuses(self, params: dict[str, object], name: str, reason: str) -> None:
        with pytest.raises(BadParameter) as refusal:
            method.bind(params)
        assert refusal.value.data["name"] == name
        assert reason in str(refusal.value)


class TestShape:
    def test_refuses_a_plain_function(self) -> None:
        with pytest.raises(TypeError, match="must be an async function"):
            evaluator(metrics=[])(lambda ctx, sample: None)

    def test_refuses_positional_parameters(self) -> None:
        async def positional(ctx, sample, rounds: int = 1):  # type: ignore[no-untyped-def]  # the point
            ...

        with pytest.raises(TypeError, match="3 positional"):
            evaluator(metrics=[])(positional)

    def test_refuses_parameters_without_a_type(self) -> None:
        async def untyped(ctx, sample, *, rounds=1):  # type: ignore[no-untyped-def]  # the point
            ...

        with pytest.raises(TypeError, match="needs a type annotation"):
            evaluator(metrics=[])(untyped)
