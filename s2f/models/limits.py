"""How far a predicted face can be trusted: measured on voices that the model has not learned from, also degraded ones.

A *domain* is where the predictions for clean recordings lie; what lies outside is drawn back to the average face. The
expected *error* of a prediction, its angle to that from a clean recording, is read off recordings that looked alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Shaped

from s2f.models import arrays
from s2f.study.paths import UserError

OUTSIDE_SHARE = 0.01  # share of the clean recordings of held-out speakers that lie outside the domain
KEPT_VARIANCE = 0.95  # of the predictions, in the directions that the domain distinguishes
FOLDS = 5
NEIGHBOURS = 50


@dataclass(frozen=True)
class Limits:
    """The domain of a voice model, and the errors of its predictions."""

    mean: Float32[np.ndarray, "feature_dim"]
    directions: Float32[np.ndarray, "kept feature_dim"]  # orthonormal
    deviations: Float32[np.ndarray, "kept"]  # standard deviation of the predictions along each
    rest: Float32[np.ndarray, ""]  # ... and along any other direction
    radii: Float32[np.ndarray, "2"]  # distances along these and along the others that OUTSIDE_SHARE / 2 exceed, each
    signs: Float32[np.ndarray, "recordings signs"]  # of degraded and shortened recordings, the distance last
    errors: Float32[np.ndarray, "recordings"]  # degrees
    same_speaker: Float32[np.ndarray, ""]  # median angle between the predictions for two recordings (degrees) ...
    two_speakers: Float32[np.ndarray, ""]  # ... and between those for two speakers

    @classmethod
    def fit(
        cls,
        clean: Float32[np.ndarray, "clips feature_dim"],
        speakers: Shaped[np.ndarray, "clips"],
        predicted: Float32[np.ndarray, "recordings feature_dim"],
        signs: Float[np.ndarray, "recordings others"],
        errors: Float[np.ndarray, "recordings"],
    ) -> "Limits":
        """Fit on held-out speakers.

        Args:
            clean: predictions for clean recordings, of which the domain is made.
            speakers: who speaks in each; the radius is taken from out-of-fold distances, a speaker in one fold.
            predicted: predictions for degraded and shortened recordings.
            signs: what is known of each of these (`speech2face.Prediction.signs`); NaN where it cannot be.
            errors: angle of each of these predictions to that of the clean recording (degrees).
        """
        from s2f.metrics.similarity import unit_rows  # SciPy, for which no drawing waits

        _, first, codes = np.unique(speakers, return_index=True, return_inverse=True)
        codes = np.argsort(np.argsort(first))[codes]  # in the order in which they come
        fold = codes % FOLDS
        outside = np.concatenate([_distances(clean[fold == k], *_domain(clean[fold != k])) for k in np.unique(fold)])
        domain = _domain(clean)
        radii = np.quantile(outside, 1 - OUTSIDE_SHARE / 2, axis=0)
        signs = np.column_stack([signs, (_distances(predicted, *domain) / radii).max(axis=1)])
        cosines = unit_rows(clean) @ unit_rows(clean).T
        pairs = np.tril(np.ones_like(cosines, bool), -1)
        same = codes[:, None] == codes
        apart = [_median_angle(cosines[pairs & group]) for group in (same, ~same)]
        return cls(*(np.asarray(array, np.float32) for array in (*domain, radii, signs, errors, *apart)))

    def distance(self, features: Float32[np.ndarray, "n feature_dim"]) -> Float[np.ndarray, "n"]:
        """Distance of predictions from the mean, as a share of what is usual: beyond 1 they are outside the domain.

        The larger of two: along the main directions, in which predictions vary, and along all others.
        """
        found = _distances(features, self.mean, self.directions, self.deviations, self.rest)
        return (found / self.radii).max(axis=1)

    def drawn_back(self, features: Float32[np.ndarray, "n feature_dim"]) -> Float32[np.ndarray, "n feature_dim"]:
        """Predictions outside the domain moved towards the mean, to its edge; the others as they are."""
        share = 1 / np.maximum(self.distance(features), 1)
        return (self.mean + share[:, None] * (features - self.mean)).astype(np.float32)

    def expected_error(
        self, signs: Float[np.ndarray, "n others"], predicted: Float32[np.ndarray, "n feature_dim"]
    ) -> Float[np.ndarray, "n 2"]:
        """Median and 90th percentile (degrees) of the errors of those recordings that were most like each of these.

        The percentile is at least the angle between the halves of the recording, which may differ by more than any
        recording did that the errors are known of.

        Args:
            signs: as `fit` takes them; that angle is the last of them.
            predicted: the prediction for each.
        """
        scale = np.nanstd(self.signs, axis=0) + 1e-6
        queries = np.column_stack([signs, self.distance(predicted)])
        # The mean over the signs that both have.
        apart = np.square((queries[:, None] - self.signs) / scale)
        nearest = np.argsort(np.nanmean(apart, axis=2), axis=1, kind="stable")[:, :NEIGHBOURS]
        median, high = np.quantile(self.errors[nearest], [0.5, 0.9], axis=1)
        return np.stack([median, np.fmax(high, np.asarray(signs)[:, -1])], axis=1)

    def save(self, path: str | Path) -> None:
        """Write the limits as a safetensors file."""
        arrays.save(vars(self), path)

    @classmethod
    def load(cls, path: str | Path) -> "Limits":
        """Limits written by `save`; UserError if the file is missing or something else."""
        found = arrays.load(path)
        if set(found) != set(cls.__dataclass_fields__) or not _consistent(found):
            raise UserError(f"{path} does not hold the limits of a voice model: make it with `dvc repro robustness`.")
        return cls(**found)


def _consistent(found: dict[str, np.ndarray]) -> bool:
    """Whether arrays of a file have the shapes that go together, and hold numbers."""
    kept, dim = found["directions"].shape if found["directions"].ndim == 2 else (0, 0)
    shapes = {"mean": (dim,), "deviations": (kept,), "rest": (), "radii": (2,), "errors": found["signs"].shape[:1]}
    shapes |= {"same_speaker": (), "two_speakers": ()}
    # Where each speaker has one recording, nothing says how far two of one lie apart.
    known = set(found) - {"signs", "same_speaker", "two_speakers"}
    finite = all(np.isfinite(found[name]).all() for name in known)
    return finite and len(found["signs"]) > 0 and all(found[name].shape == shape for name, shape in shapes.items())


def _median_angle(cosines: Float[np.ndarray, "pairs"]) -> float:
    return float(np.median(np.degrees(np.arccos(np.clip(cosines, -1, 1))))) if len(cosines) else np.nan


def _domain(features: Float32[np.ndarray, "clips feature_dim"]) -> tuple:
    """Mean, main directions, the deviations along them, and that along any other (probabilistic PCA)."""
    mean = features.mean(axis=0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    variances = singular**2 / max(len(features) - 1, 1)
    share = np.cumsum(variances) / max(variances.sum(), 1e-12)
    kept = int(np.searchsorted(share, KEPT_VARIANCE)) + 1
    others = max(features.shape[1] - kept, 1)
    floor = max(variances[0], 1e-12) * 1e-6
    rest = np.sqrt(max(variances[kept:].sum() / others, floor))
    return mean, directions[:kept], np.sqrt(np.maximum(variances[:kept], floor)), rest


def _distances(features, mean, directions, deviations, rest) -> Float[np.ndarray, "n 2"]:
    """Mahalanobis distances from the mean: along the main directions, and along all others."""
    centred = (features - mean).astype(float)
    along = centred @ directions.T
    off = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
    return np.sqrt(np.stack([((along / deviations) ** 2).sum(axis=1), off / rest**2], axis=1))
