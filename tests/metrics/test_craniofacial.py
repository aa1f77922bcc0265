"""Planted correlations of craniofacial measures are found, and nothing where nothing is."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from s2f.metrics import bootstrap, craniofacial

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def clips_of(n_speakers, clips, rng, dim=6, noise=0.5):
    """Features that are a speaker's own plus the noise of each clip."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    own = rng.normal(size=(n_speakers, dim))
    return own[speakers] + noise * rng.normal(size=(len(speakers), dim)), own[speakers], speakers


def test_craniofacial_finds_a_planted_correlation_and_no_other(rng):
    drawn, true, speakers = clips_of(80, 3, rng, dim=2, noise=1.0)
    drawn[:, 1] = rng.permutation(drawn[:, 1])
    found = craniofacial.craniofacial(true, drawn, ["planted", "nothing"], speakers, QUICK, permutations=199)
    planted, nothing = found.iloc[0], found.iloc[1]
    assert planted.r == pytest.approx(pearsonr(true[:, 0], drawn[:, 0]).statistic, abs=1e-12)
    assert planted.low < np.sqrt(0.5) < planted.high and planted.p == planted.p_adjusted == 1 / 200
    assert nothing.p > 0.01 and planted["random"] < planted.random_p95 < 0.5


def test_a_difference_between_the_sexes_vanishes_within_them(rng):
    sex = np.repeat(["F", "M"], 60)
    shift = 3.0 * (sex == "M")[:, None]
    true, drawn = (shift + rng.normal(size=(120, 1)) for _ in range(2))
    found = craniofacial.craniofacial(true, drawn, ["jaw"], np.arange(120), QUICK, strata=sex, permutations=199)
    everybody, within = found.iloc[0], found.iloc[1]
    assert everybody.r > 0.5 and everybody.p < 0.01
    assert within.low < 0 < within.high and within.p > 0.01


def test_p_values_of_unrelated_speakers_are_not_too_small():
    small = 0
    for seed in range(200):
        local = np.random.default_rng(seed)
        true, drawn = (np.repeat(local.normal(size=(30, 1)), 4, axis=0) for _ in range(2))
        quick = bootstrap.Resampling(seed=seed, replicates=10)
        found = craniofacial.craniofacial(true, drawn, ["x"], np.repeat(np.arange(30), 4), quick, permutations=99)
        small += found.p[0] <= 0.05
    # 200 tests at .05: mean 10, standard deviation 3.08; 3.5 of them above. By clip it would be 66, because
    # r has four times the variance that 120 independent clips would give it.
    assert small <= 10 + 3.5 * 3.08


def test_craniofacial_stands_beside_the_best_possible(rng):
    cause = rng.normal(size=(300, 1))
    true, drawn = cause + rng.normal(size=(300, 1)), cause + 0.5 * rng.normal(size=(300, 1))
    found = craniofacial.craniofacial(true, drawn, ["jaw"], np.arange(300), QUICK, permutations=20, best=cause).iloc[0]
    assert found["ceiling"] == pytest.approx(pearsonr(true[:, 0], cause[:, 0])[0])
    assert found["share_of_ceiling"] == pytest.approx(found["r"] / found["ceiling"])
