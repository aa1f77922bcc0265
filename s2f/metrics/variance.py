"""Variances of many numbers, each from very few repetitions.

Three trainings give each number a variance of two degrees of freedom, which says next to nothing by itself. All numbers
together say how such variances scatter, and each is drawn towards the others by as much as that warrants: the
moderated variance of Smyth (2004, Statistical Applications in Genetics and Molecular Biology 3:3).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

FEWEST = 10  # variances from which a prior is learned


class Prior(NamedTuple):
    """What is expected of a variance before it is measured: `ratio` times its scale, as if from so many `degrees`."""

    ratio: float
    degrees: float  # of freedom; infinite where all ratios are alike


class Moderated(NamedTuple):
    """Variances drawn towards what is expected, and the degrees of freedom of each."""

    variances: Float[np.ndarray, "numbers"]
    degrees: float


def prior(variances: Float[np.ndarray, "numbers"], scales: Float[np.ndarray, "numbers"], degrees: int) -> Prior | None:
    """How the ratio of a variance to its scale is distributed: a scaled F, fitted by the moments of its logarithm.

    Args:
        variances: each from `degrees` degrees of freedom.
        scales: what each is measured in, such as the variance of the same number over speakers.
        degrees: of freedom, repetitions less one.

    Returns:
        None where fewer than `FEWEST` variances and their scales are above zero.
    """
    some = (variances > 0) & (scales > 0)
    if some.sum() < FEWEST:
        return None
    logs = np.log(variances[some] / scales[some]) - digamma(degrees / 2) + np.log(degrees / 2)
    # What the logarithms vary by beyond the noise of a variance from so few repetitions.
    beyond = logs.var(ddof=1) - polygamma(1, degrees / 2)
    if beyond <= 0:
        return Prior(float(np.exp(logs.mean())), np.inf)
    half = brentq(lambda half: polygamma(1, half) - beyond, 1e-3, 1e6) if beyond < polygamma(1, 1e-3) else 1e-3
    return Prior(float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half)


def moderated(
    variances: Float[np.ndarray, "numbers"], scales: Float[np.ndarray, "numbers"], degrees: int, expected: Prior
) -> Moderated:
    """Each variance as the mean of what was measured and what is expected, weighted by their degrees of freedom.

    Args:
        variances: each from `degrees` degrees of freedom.
        scales: what each is measured in.
        degrees: of freedom; 0 where nothing was measured.
        expected: as `prior` learned it.
    """
    if np.isinf(expected.degrees):
        return Moderated(expected.ratio * scales, np.inf)
    total = expected.degrees + degrees
    return Moderated((expected.degrees * expected.ratio * scales + degrees * variances) / total, total)
