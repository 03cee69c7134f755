"""Model specifications: reading arguments, names and canonical forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import BadModel
from evaluators.runtimes import ModelSpec, parse_model_args


class TestParseModelArgs:
    @pytest.mark.parametrize(
        "text",
        [
            "pretrained=a/b,dtype=float32,n=3",
            "pretrained=a/b dtype=float32  n=3",
            '{"pretrained":"a/b","dtype":"float32","n":3}',
        ],
        ids=["commas", "blanks", "json"],
    )
    def test_reads_every_form(self, text: str) -> None:
        assert parse_model_args(text) == {"pretrained": "a/b", "dtype": "float32", "n": 3}

    def test_types_values(self) -> None:
        text = "i=-2,f=1e-3,t=True,f2=false,n=none,s=x1,inf=inf"
        assert parse_model_args(text) == {
            "i": -2, "f": 0.001, "t": True, "f2": False, "n": None, "s": "x1", "inf": "inf",
        }  # fmt: skip

    def test_keeps_a_revision_of_digits_as_text(self) -> None:
        assert parse_model_args("revision=0012e4") == {"revision": "0012e4"}

    def test_nothing_is_no_arguments(self) -> None:
        assert parse_model_args("  ") == {}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("pretrained", "key=value"),
            ("a=1,a=2", "given twice"),
            ("{'a': 1}", "not valid JSON"),
            ("pretrained=x,trust_remote_code=True", "trust_remote_code"),
            ('{"trust_remote_code": "yes"}', "trust_remote_code"),
            ("__import__('os')=1", "key=value"),
        ],
    )
    def test_refuses(self, text: str, reason: str) -> None:
        with pytest.raises(BadModel) as caught:
            parse_model_args(text)
        assert reason in str(caught.value)

    def test_takes_remote_code_that_is_off(self) -> None:
        assert parse_model_args("pretrained=x,trust_remote_code=False") == {"pretrained": "x"}

    @given(
        st.dictionaries(st.from_regex(r"[a-z]{3,8}", fullmatch=True), st.integers() | st.booleans())
    )
    def test_reads_back_what_was_written(self, args: dict[str, int | bool]) -> None:
        written = ",".join(f"{key}={value}" for key, value in args.items())
        assert parse_model_args(written) == args


class TestModelSpec:
    def test_label_is_the_first_name_as_lm_eval_takes_it(self) -> None:
        spec = ModelSpec("lm-eval", "hf", {"pretrained": "base", "peft": "adapter"})
        assert spec.label == "adapter"
        assert ModelSpec("echo", "echo").label == "echo"

    def test_canonical_form_ignores_order_place_and_batch_size(self) -> None:
        one = ModelSpec("lm-eval", "hf", {"pretrained": "m", "dtype": "auto"}, batch_size=1)
        two = ModelSpec("lm-eval", "hf", {"dtype": "auto", "device": "cpu", "pretrained": "m"})
        assert one.canonical() == two.canonical()
        assert hash(one) == hash(two)
        expected = '{"args":{"dtype":"auto","pretrained":"m"},"model":"hf","runtime":"lm-eval"}'
        assert one.canonical() == expected
