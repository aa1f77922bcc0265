"""A score fitted on held-out pairs: the likelihood ratio of a joint Gaussian."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from s2f.metrics.similarity import rounded_to_unit
from s2f.study.numbers import finite

# Directions with less than this fraction of the largest spread are rounding, not signal.
RANK = 1e-6


@dataclass(frozen=True)
class LikelihoodRatio:
    """The score log p(face | prediction) - log p(face) of a joint Gaussian, fitted on held-out pairs.

    Cosine weighs each direction by its size, this score by what the voice tells of it. In canonical directions, where
    prediction u and face v have unit variance and correlation r, the log ratio is the sum of
    -log(1 - r^2) / 2 + (2 r u v - r^2 (u^2 + v^2)) / (2 (1 - r^2)).
    """

    pred_mean: Float[np.ndarray, "pred_dim"]
    pred_map: Float[np.ndarray, "pred_dim canonical"]
    true_mean: Float[np.ndarray, "true_dim"]
    true_map: Float[np.ndarray, "true_dim canonical"]
    correlations: Float[np.ndarray, "canonical"]

    @classmethod
    def fit(
        cls, pred: Float[np.ndarray, "clips pred"], true: Float[np.ndarray, "clips true"], dims: int = 32
    ) -> "LikelihoodRatio":
        """Fit on one row per clip, in `dims` principal directions of the predictions and of the faces.

        UserError for a feature that is not finite.
        """
        finite(predicted_feature=pred, face_feature=true)
        pred_mean, pred_map = _whitening(pred.astype(float), dims)
        true_mean, true_map = _whitening(true.astype(float), dims)
        u, v = (pred - pred_mean) @ pred_map, (true - true_mean) @ true_map
        left, correlations, right = np.linalg.svd(u.T @ v / len(u), full_matrices=False)
        correlations = np.minimum(_without_noise(correlations, u.shape[1], v.shape[1], len(u)), 1 - RANK)
        return cls(pred_mean, pred_map @ left, true_mean, true_map @ right.T, correlations)

    def __call__(
        self, queries: Float[np.ndarray, "queries pred_dim"], gallery: Float[np.ndarray, "gallery true_dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        u, v = (queries - self.pred_mean) @ self.pred_map, (gallery - self.true_mean) @ self.true_map
        r, rest = self.correlations, 1 - self.correlations**2
        squares = (np.square(u) @ (r**2 / rest))[:, None] + np.square(v) @ (r**2 / rest)
        return rounded_to_unit((u * (r / rest)) @ v.T - squares / 2 - np.log(rest).sum() / 2)


def _whitening(
    features: Float[np.ndarray, "clips dim"], dims: int
) -> tuple[Float[np.ndarray, "dim"], Float[np.ndarray, "dim kept"]]:
    """Mean and the map to at most `dims` principal components of unit variance; none where nothing varies."""
    mean = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)
    kept = min(dims, int((spread > RANK * max(spread[0], np.abs(features).max())).sum()))
    return mean, directions[:kept].T * (np.sqrt(len(features)) / spread[:kept])


def _without_noise(
    correlations: Float[np.ndarray, "canonical"], rows: int, columns: int, n_clips: int
) -> Float[np.ndarray, "canonical"]:
    """Canonical correlations without what noise adds: the shrinkage of Gavish and Donoho (2017) for white noise.

    Correlations up to (1 + sqrt(beta)) sqrt(rows / n_clips), which unrelated pairs reach too, become zero.
    """
    rows, columns = max(rows, columns), min(rows, columns)
    unit, beta = np.sqrt(rows / n_clips), columns / max(rows, 1)
    above = np.maximum(correlations / (unit or 1), 1 + np.sqrt(beta))
    return unit * np.sqrt(np.maximum((above**2 - beta - 1) ** 2 - 4 * beta, 0)) / above
