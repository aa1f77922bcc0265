"""Intervals over speakers: coverage, invariances, and equality with plain references."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from s2f.metrics import bootstrap
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=3, replicates=500)


def speaker_data(rng, n_speakers, clips, icc=0.2):
    """Standard normal clips whose variance is shared by a speaker's clips in the proportion `icc`."""
    speakers = np.repeat([f"s{i:03d}" for i in range(n_speakers)], clips)
    shared = np.repeat(rng.normal(size=n_speakers), clips)
    return np.sqrt(icc) * shared + np.sqrt(1 - icc) * rng.normal(size=n_speakers * clips), speakers


@pytest.mark.parametrize("n_speakers", [8, 50])
def test_intervals_of_a_mean_cover_the_truth(n_speakers):
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values, speakers = speaker_data(rng, n_speakers, 5)
        found = bootstrap.interval(values, speakers, bootstrap.Resampling(seed=seed, replicates=500))
        covered += found.low <= 0 <= found.high
    # Coverage is .94 to .95, so 200 trials have a standard deviation of at most .0168: 3.5 allowed.
    assert covered / 200 >= 0.94 - 3.5 * 0.0168


def test_row_wise_interval_would_be_too_narrow():
    values, speakers = speaker_data(np.random.default_rng(1), 50, 20, icc=0.5)
    by_speaker = bootstrap.interval(values, speakers, QUICK)
    by_row = bootstrap.interval(values, np.arange(len(values)), QUICK)
    # Design effect 1 + 19 * .5 = 10.5: the right interval is 3.2 times as wide; 500 replicates blur it 5 %.
    assert by_speaker.high - by_speaker.low > 2 * (by_row.high - by_row.low)


@pytest.mark.parametrize("n_speakers", [12, 40])
def test_duplicated_clips_and_row_order_leave_the_interval_alone(n_speakers):
    rng = np.random.default_rng(2)
    values, speakers = speaker_data(rng, n_speakers, 3)
    order = rng.permutation(len(values))
    once = bootstrap.interval(values, speakers, QUICK)
    twice = bootstrap.interval(np.tile(values, 2), np.tile(speakers, 2), QUICK)
    mixed = bootstrap.interval(values[order], speakers[order], QUICK)
    for other in (twice, mixed):
        for end in ("value", "low", "high"):
            assert getattr(other, end) == pytest.approx(getattr(once, end), abs=1e-12)
    assert (once.n_clips, twice.n_clips, twice.n_speakers) == (3 * n_speakers, 6 * n_speakers, n_speakers)


def test_few_speakers_get_the_one_sample_t_interval():
    values = np.random.default_rng(3).normal(size=9)
    found = bootstrap.interval(values, np.arange(9), QUICK)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.method == "cluster-t"
    # With one clip a speaker the jackknife of a mean is the classical standard error exactly.
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], atol=1e-12)


def test_shares_at_the_edge_keep_an_honest_interval():
    found = bootstrap.interval(np.ones(120), np.repeat(np.arange(60), 2), QUICK, share=True)
    assert found.high == 1 and found.low == pytest.approx(scipy_stats.binomtest(60, 60).proportion_ci().low)
    found = bootstrap.interval(np.zeros(120), np.repeat(np.arange(60), 2), QUICK, share=True)
    assert found.low == 0 and found.high == pytest.approx(scipy_stats.binomtest(0, 60).proportion_ci().high)


def test_one_speaker_has_a_value_and_no_interval():
    found = bootstrap.interval(np.array([1.0, 2.0]), np.array(["a", "a"]), QUICK)
    assert found.value == 1.5 and np.isnan(found.low) and np.isnan(found.high)


def test_correlation_equals_scipy_and_covers_a_planted_one():
    rng = np.random.default_rng(4)
    x, speakers = speaker_data(rng, 100, 4)
    y = 0.6 * x + 0.8 * rng.normal(size=len(x)) + 1000.0
    found = bootstrap.correlation(x, y, speakers, QUICK)
    assert found.value == pytest.approx(scipy_stats.pearsonr(x, y).statistic, abs=1e-12)
    assert found.low < 0.6 < found.high
    assert bootstrap.correlation(x, np.full(len(x), 0.1), speakers, QUICK).value == 0


@pytest.mark.parametrize("n_speakers", [10, 35])
def test_resampled_correlations_equal_recomputed_ones(n_speakers):
    rng = np.random.default_rng(5)
    x, speakers = speaker_data(rng, n_speakers, 2)
    y = x + rng.normal(size=len(x))
    small = bootstrap.Resampling(seed=0, replicates=20)
    found = bootstrap.correlation(x, y, speakers, small).resampled
    codes = np.unique(speakers, return_inverse=True)[1]
    if n_speakers < bootstrap.PERCENTILE_SPEAKERS:
        weights = 1 - np.eye(n_speakers)
    else:
        weights = np.concatenate(list(bootstrap.weight_blocks(n_speakers, small, n_speakers)))
    repeated = [np.repeat(np.arange(len(x)), row[codes].astype(int)) for row in weights]
    np.testing.assert_allclose(found, [np.corrcoef(x[rows], y[rows])[0, 1] for rows in repeated], atol=1e-10)


def test_slope_and_variance_ratio_equal_their_definitions():
    rng = np.random.default_rng(6)
    x, speakers = speaker_data(rng, 40, 3)
    y = 5 + 0.3 * x + 0.1 * rng.normal(size=len(x))
    assert bootstrap.slope(x, y, speakers, QUICK).value == pytest.approx(np.polyfit(x, y, 1)[0])
    assert bootstrap.variance_ratio(x, y, speakers, QUICK).value == pytest.approx(y.var() / x.var())
    assert np.isnan(bootstrap.slope(np.ones_like(y), y, speakers, QUICK).value)


def test_auc_equals_sklearn_with_ties_and_weights():
    rng = np.random.default_rng(7)
    scores, positive = rng.integers(0, 6, 80).astype(float), rng.random(80) < 0.4
    weights = rng.integers(1, 4, 80).astype(float)
    wins, pairs = bootstrap.pair_wins(scores, positive, weights[None])[0]
    assert wins / pairs == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights), abs=1e-12)
    assert bootstrap.auc(np.zeros(80), positive, np.arange(80), QUICK).value == 0.5


def test_stratified_auc_counts_only_pairs_within_a_stratum():
    rng = np.random.default_rng(8)
    strata = rng.integers(0, 2, 400)
    positive = rng.random(400) < np.where(strata == 1, 0.8, 0.2)
    scores = strata + 0.01 * rng.normal(size=400)  # knows the stratum and nothing else
    assert bootstrap.auc(scores, positive, np.arange(400), QUICK).value > 0.7
    within = bootstrap.auc(scores, positive, np.arange(400), QUICK, strata=strata)
    assert within.low < 0.5 < within.high


def test_crossed_resampling_is_wider_when_others_differ():
    rng = np.random.default_rng(9)
    faces = np.tile(rng.random(60), (60, 1))  # some faces always win, whoever asks
    count = 1 - np.eye(60)
    both = bootstrap.crossed(faces * count, count, 60, QUICK)
    queries_only = bootstrap.interval((faces * count).sum(1) / 59, np.arange(60), QUICK)
    assert both.value == pytest.approx(queries_only.value)
    # The spread of the faces is .29, so the mean of 60 has sd .037; queries alone show about 1/59 of it.
    assert both.high - both.low > 10 * (queries_only.high - queries_only.low)


def test_combined_estimates_are_paired():
    rng = np.random.default_rng(10)
    values, speakers = speaker_data(rng, 40, 3)
    a, b = (bootstrap.interval(values + shift, speakers, QUICK) for shift in (0.0, 0.25))
    gap = bootstrap.combine(lambda x, y: y - x, a, b, resampling=QUICK)
    np.testing.assert_allclose([gap.value, gap.low, gap.high], 0.25, atol=1e-12)
    with pytest.raises(UserError, match="39 speakers"):
        bootstrap.combine(np.subtract, a, bootstrap.interval(values[3:], speakers[3:], QUICK), resampling=QUICK)


def test_simultaneous_intervals_are_wider_and_draws_ignore_the_block_size(monkeypatch):
    values, speakers = speaker_data(np.random.default_rng(11), 40, 3)
    one = bootstrap.interval(values, speakers, QUICK)
    many = bootstrap.interval(values, speakers, QUICK.simultaneous(20))
    assert many.low < one.low and many.high > one.high
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 7 * 40)
    np.testing.assert_allclose(bootstrap.interval(values, speakers, QUICK).resampled, one.resampled, atol=1e-12)


def test_ten_thousand_replicates_take_less_than_a_second():
    values, speakers = speaker_data(np.random.default_rng(12), 400, 10)
    start = time.process_time()
    bootstrap.interval(values, speakers, bootstrap.Resampling(seed=0))
    assert time.process_time() - start < 1


def test_wrong_lengths_and_no_clips_are_named():
    with pytest.raises(UserError, match="columns has 2 rows, speakers 3"):
        bootstrap.interval(np.ones(2), pd.Series(["a", "b", "c"]), QUICK)
    with pytest.raises(UserError, match="No clips are left"):
        bootstrap.interval(np.ones(0), np.arange(0), QUICK)


def test_arms_are_compared_in_pairs(rng):
    speakers = np.repeat(np.arange(60), 2)
    base = rng.normal(0, 3, 120)
    table = bootstrap.against({"full": base, "less": base - 0.5}, "full", speakers, QUICK)
    assert table.loc["full", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert table.loc["less", "difference"] == pytest.approx(-0.5)
    # What the arms share cancels: the difference is the same for every clip, the values are not.
    assert table.loc["less", "difference_high"] == pytest.approx(-0.5)
    assert table.loc["less", "high"] - table.loc["less", "low"] > 0.5
