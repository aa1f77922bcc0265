"""Variances from few repetitions are drawn towards each other by as much as they agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2f.metrics import variance

DEGREES = 2  # of three repetitions


def measured(ratio, prior_degrees, numbers, seed=0):
    """Variances from `DEGREES` degrees of freedom, whose true ones are `ratio` times a scaled inverse chi square."""
    draw = np.random.default_rng(seed)
    scales = np.exp(draw.normal(size=numbers))
    true = ratio * scales * (prior_degrees / draw.chisquare(prior_degrees, numbers) if prior_degrees < np.inf else 1)
    return true * draw.chisquare(DEGREES, numbers) / DEGREES, scales, true


@pytest.mark.parametrize("prior_degrees", [4.0, 10.0])
def test_the_prior_of_known_variances_is_found(prior_degrees):
    found = np.array([variance.prior(*measured(0.3, prior_degrees, 2000, seed)[:2], DEGREES) for seed in range(20)])
    # Of the mean of twenty fits. The logarithm of a chi square of two degrees has a standard deviation of 1.3.
    assert found[:, 0].mean() == pytest.approx(0.3, rel=4 * 1.3 / np.sqrt(2000 * 20) + 0.02)
    assert np.median(found[:, 1]) == pytest.approx(prior_degrees, rel=0.25)


def test_where_all_ratios_are_alike_single_variances_hardly_count():
    variances, scales, true = measured(0.3, np.inf, 2000)
    prior = variance.prior(variances, scales, DEGREES)
    moderated = variance.moderated(variances, scales, DEGREES, prior)
    assert prior.degrees > 30
    assert np.abs(moderated.variances / true - 1).mean() < 0.2 * np.abs(variances / true - 1).mean()


def test_moderated_variances_are_nearer_to_the_true_ones():
    variances, scales, true = measured(0.3, 6.0, 2000)
    moderated = variance.moderated(variances, scales, DEGREES, variance.prior(variances, scales, DEGREES))

    def missed(estimates):
        return np.abs(np.log(estimates / true)).mean()

    assert missed(moderated.variances) < 0.6 * missed(variances)


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=30),
    st.floats(1e-3, 1e3),
    st.floats(0.1, 1e3) | st.just(np.inf),
)
def test_a_moderated_variance_lies_between_the_measured_and_the_expected(values, ratio, degrees):
    values, scales = np.array(values), np.full(len(values), 2.0)
    moderated = variance.moderated(values, scales, DEGREES, variance.Prior(ratio, degrees))
    low, high = np.minimum(values, 2 * ratio), np.maximum(values, 2 * ratio)
    assert ((moderated.variances >= low * (1 - 1e-9)) & (moderated.variances <= high * (1 + 1e-9))).all()
    assert moderated.degrees == DEGREES + degrees


def test_too_few_variances_teach_nothing():
    variances, scales, _ = measured(0.3, 4.0, variance.FEWEST)
    assert variance.prior(variances[1:], scales[1:], DEGREES) is None
    variances[0] = 0  # a number that is the same in every training says nothing of the others
    assert variance.prior(variances, scales, DEGREES) is None
