"""Probes of the predicted feature: what can be read off it, and what moves it."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler

from s2f import stats
from s2f.evaluate import PENALTIES, Features, demeaned
from s2f.paths import UserError
from s2f.stats import Column, Estimate, Resampling


def negative_controls(
    features: Features,
    labels: pd.DataFrame,
    speakers: Column,
    train: Bool[np.ndarray, "clips"],
    resampling: Resampling,
    strata: Column | None = None,
    dims: int = 32,
) -> pd.DataFrame:
    """Can a linear probe read labels off predicted features? What no voice carries must come out at chance.

    Probes learn on the clips of `train` and are judged on the others: AUC for two labels, Pearson r for
    numbers. With `strata`, only clips of one stratum are compared, for labels that go with sex or age. All
    intervals hold together; `bound` is the largest distance from chance that they leave possible.
    """
    speakers = np.asarray(speakers)
    shared = set(speakers[train]) & set(speakers[~train])
    if shared:
        raise UserError(f"Speaker {sorted(shared)[0]} is on both sides of the split: split by speaker.")
    together = resampling.simultaneous(labels.shape[1])
    strata = np.zeros(len(speakers)) if strata is None else np.asarray(strata)
    seen = _principal(features, train, dims)
    rows = []
    for name in labels:
        known = labels[name].notna().to_numpy()
        fitted, tested = train & known, ~train & known
        kind, chance, estimate = _probe(seen, labels[name], fitted, tested, speakers, strata, together)
        bound = max(abs(estimate.low - chance), abs(estimate.high - chance))
        passed = bool(estimate.low <= chance <= estimate.high)
        rows.append(
            {"control": name, "metric": kind, "chance": chance}
            | estimate.row()
            | {"bound": bound, "at_chance": passed}
        )
    return pd.DataFrame(rows)


def _principal(
    features: Features, train: Bool[np.ndarray, "clips"], dims: int
) -> Float[np.ndarray, "clips kept"]:
    """Standardised features in `dims` principal directions of the training clips."""
    if not np.ptp(features[train], axis=0).any():
        return np.zeros((len(features), 1))  # nothing varies: there are no principal directions
    scaled = StandardScaler().fit(features[train].astype(float)).transform(features.astype(float))
    return PCA(min(dims, *scaled[train].shape), random_state=0).fit(scaled[train]).transform(scaled)


def _probe(
    seen: Float[np.ndarray, "clips kept"],
    label: pd.Series,
    fitted: Bool[np.ndarray, "clips"],
    tested: Bool[np.ndarray, "clips"],
    speakers: np.ndarray,
    strata: np.ndarray,
    resampling: Resampling,
) -> tuple[str, float, Estimate]:
    values = label[fitted | tested].unique()
    if len(values) == 2:
        positive = (label == max(values)).to_numpy()
        probe = LogisticRegression(C=0.1, max_iter=2000).fit(seen[fitted], positive[fitted])
        scores = probe.decision_function(seen[tested])
        return "auc", 0.5, stats.auc(scores, positive[tested], speakers[tested], resampling, strata[tested])
    if not pd.api.types.is_numeric_dtype(label):
        raise UserError(f"The control {label.name} has {len(values)} labels: pass one 0/1 column a label.")
    truth = label.to_numpy(float)
    guess = RidgeCV(PENALTIES).fit(seen[fitted], truth[fitted]).predict(seen[tested])
    stratum = np.unique(strata[tested], return_inverse=True)[1]
    x, y = (demeaned(side, stratum) for side in (truth[tested], guess))
    return "r", 0.0, stats.correlation(x, y, speakers[tested], resampling)
