"""Typed door to scipy.special, which ships no types and is slow to import."""

from __future__ import annotations


def _special(name: str, *args: float) -> float:
    from scipy import special  # type: ignore[import-untyped]  # scipy ships no types

    return float(getattr(special, name)(*args))


def student_quantile(degrees: int, p: float) -> float:
    """Return the p-quantile of Student's t."""
    return _special("stdtrit", degrees, p)


def student_cdf(degrees: int, t: float) -> float:
    """Return the probability that Student's t is at most `t`."""
    return _special("stdtr", degrees, t)


def binomial_cdf(successes: int, n: int, p: float) -> float:
    """Return the probability of at most that many successes."""
    return _special("bdtr", successes, n, p)


def beta_quantile(a: float, b: float, p: float) -> float:
    """Return the p-quantile of the Beta distribution."""
    return _special("betaincinv", a, b, p)
