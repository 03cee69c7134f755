"""Nothing secret gets past the log."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.core.logs import MASK, RedactFilter, TraceFilter, redact
from leaderboard.core.trace import start_trace

CANARY = "canary-0123456789abcdef"


@pytest.fixture
def log():
    """A logger with the server's filters, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(TraceFilter())
    handler.addFilter(RedactFilter())
    handler.setFormatter(logging.Formatter("{trace} {message}", style="{"))
    logger = logging.getLogger(__name__)
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "line",
    [
        f"connecting to postgresql://redraft:{CANARY}@/redraft?host=/x",
        f"redis://:{CANARY}@broker:6379/0 is away",
        f"Authorization: Bearer {CANARY}",
        f"password={CANARY} user=me",
        f'{{"api_key": "{CANARY}", "n": 1}}',
        f"token: {CANARY}",
        f"HF_TOKEN={CANARY}",
        "pushed with hf_abcdefghijklmnopqrstuvwxyz0123456789",
    ],
)
def test_takes_the_secret_and_leaves_the_rest(line):
    cleaned = redact(line)
    assert CANARY not in cleaned
    assert "hf_abc" not in cleaned
    assert MASK in cleaned


@pytest.mark.parametrize(
    "line",
    [
        "generated 512 tokens in 3.2 s",
        "the tokenizer of model x has no pad token",
        "GET https://example.org/a:b/c@d 200",
        "12:30:01 user@example.org signed in",
    ],
)
def test_leaves_harmless_lines_alone(line):
    assert redact(line) == line


@given(st.text(alphabet="abcdefghijklmnop0123456789!$%^*()_+-.", min_size=4, max_size=40))
def test_no_password_of_a_url_survives(password):
    secret = f"zq{password}zq"
    assert secret not in redact(f"postgresql://someone:{secret}@db/board failed")


def test_cleans_arguments_and_tracebacks_and_adds_the_trace(log):
    logger, stream = log
    trace = start_trace()
    try:
        raise ValueError(f"password={CANARY}")
    except ValueError:
        logger.exception("cannot use %s", f"redis://me:{CANARY}@host/0")
    written = stream.getvalue()
    assert CANARY not in written
    assert written.startswith(f"{trace} cannot use redis://{MASK}@host/0\nTraceback")
