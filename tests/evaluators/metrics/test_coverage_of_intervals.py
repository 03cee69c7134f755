"""95 % intervals cover the truth: from n = 100 on in 93 to 97 of a hundred simulated runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.metrics.bootstrap import bootstrap
from evaluators.metrics.estimate import Estimate
from evaluators.metrics.estimators import cluster_totals, gain, proportion

SIMULATIONS = 2000


def covers(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.83])
@pytest.mark.parametrize("n", [100, 250])
def test_wilson(n: int, share: float) -> None:
    rng = np.random.default_rng(int(n * share))
    alone, everything = np.arange(n), np.ones(n, bool)
    hits = rng.random((SIMULATIONS, n)) < share
    covered = [
        covers(proportion(h, everything, alone, n_total=n, empty="none"), share) for h in hits
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("clusters", [2, 3, 5, 9])
def test_few_clusters_promise_no_more_than_they_hold(clusters: int) -> None:
    """Resampled, 2 questions would cover the truth half of the time."""
    rng, groups = np.random.default_rng(clusters), np.repeat(np.arange(clusters), 3)
    everything = np.ones(3 * clusters, bool)
    drawn = [repeated(rng, clusters, 3)[0] for _ in range(300)]
    found = [proportion(h, everything, groups, n_total=len(h), empty="none") for h in drawn]
    assert {estimate.method for estimate in found} == {"wilson over clusters"}
    assert np.mean([covers(estimate, 0.5) for estimate in found]) >= 0.95


@pytest.mark.parametrize(
    "cells", [(0.5, 0.1, 0.2, 0.2), (0.2, 0.25, 0.15, 0.4), (0.6, 0.06, 0.12, 0.22)], ids=str
)
@pytest.mark.parametrize("n", [100, 300])
def test_paired_gain(n: int, cells: tuple[float, float, float, float]) -> None:
    rng = np.random.default_rng(n)
    alone = np.arange(n)
    drawn = rng.choice(4, p=cells, size=(SIMULATIONS, n))
    truth = cells[2] - cells[1]
    found = [gain(cell < 2, cell % 2 == 0, alone, n_total=n) for cell in drawn]
    assert {estimate.method for estimate in found} == {"newcombe paired"}
    assert 0.93 <= np.mean([covers(estimate, truth) for estimate in found]) <= 0.97


def repeated(
    rng: np.random.Generator, clusters: int, draws: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Answer every question several times; questions differ in how hard they are."""
    ease = rng.beta(2, 2, size=(clusters, 1))
    first = rng.random((clusters, draws)) < ease
    second = rng.random((clusters, draws)) < 0.5 * ease + 0.4 * first
    return first.ravel(), second.ravel()


def test_clustered_gain() -> None:
    rng, groups = np.random.default_rng(1), np.repeat(np.arange(120), 3)
    truth = 0.9 * 0.5 - 0.5
    found = [gain(*repeated(rng, 120, 3), groups, n_total=360) for _ in range(SIMULATIONS)]
    assert {estimate.method for estimate in found} == {"clustered t, paired"}
    assert 0.93 <= np.mean([covers(estimate, truth) for estimate in found]) <= 0.97


def test_cluster_bootstrap_of_a_conditional_rate() -> None:
    """CL: P(second | first) is (E[ease^2] / 2 + 0.4 E[ease]) / E[ease], with E[ease^2] = 0.3."""
    rng, groups = np.random.default_rng(2), np.repeat(np.arange(120), 3)
    truth = (0.5 * 0.3 + 0.4 * 0.5) / 0.5
    covered = 0
    for _ in range(SIMULATIONS):
        first, second = repeated(rng, 120, 3)
        totals = cluster_totals(groups, first & second, first)
        found = bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1], resamples=1000)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_bootstrap_of_rss() -> None:
    cells = (0.5, 0.1, 0.2, 0.2)
    acc1, acc2 = 0.6, 0.7
    truth = (acc2 - acc1**2) / (2 * acc1 * (1 - acc1))
    rng = np.random.default_rng(3)

    def rss(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        first, last = (sums[:, 0] + sums[:, 1]) / 200, (sums[:, 0] + sums[:, 2]) / 200
        result: NDArray[np.float64] = (last - first**2) / (2 * first * (1 - first))
        return result

    covered = 0
    for _ in range(SIMULATIONS):
        found = bootstrap(np.eye(4)[rng.choice(4, p=cells, size=200)], rss, resamples=1000)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / SIMULATIONS <= 0.97
