"""A score beside its ceiling."""

import numpy as np
import pytest

from s2f.metrics import bootstrap
from s2f.metrics.ceiling import beside_ceiling, shares

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def test_what_is_beside_the_ceiling_is_paired_with_it(rng):
    hits = (rng.random(200) < 0.4).astype(float)
    best = np.maximum(hits, rng.random(200) < 0.5)
    row = beside_ceiling(hits, best, 0.1, np.arange(200), QUICK)
    share = (hits.mean() - 0.1) / (best.mean() - 0.1)
    assert (row["chance"], row["value"], row["ceiling"]) == (0.1, hits.mean(), best.mean())
    assert row["share_of_ceiling"] == pytest.approx(share) and row["share_low"] < share < row["share_high"]


def test_the_interval_of_a_share_is_paired_with_the_ceiling(rng):
    hits = rng.random(50)
    value, ceiling = (bootstrap.interval(part, np.arange(50), QUICK) for part in (hits, 2 * hits))
    row = shares(value, 0.0, ceiling, QUICK)
    np.testing.assert_allclose([row["share_of_ceiling"], row["share_low"], row["share_high"]], 0.5)


def test_there_is_no_share_where_the_best_possible_is_chance(rng):
    hits = (rng.random(40) < 0.5).astype(float)
    best = (np.arange(40) % 2).astype(float)
    row = beside_ceiling(hits, best, best.mean(), np.arange(40), QUICK)
    assert np.isnan(row["share_of_ceiling"]) and np.isfinite(row["share_low"])
