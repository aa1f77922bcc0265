"""The distribution of faces given a voice: a normal one around the prediction, from the residuals of held-out people.

One face is taken for the truth; several show what the voice leaves open.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from s2f.models import arrays
from s2f.study.paths import UserError

KEPT_VARIANCE = 0.95  # of the residuals, in the directions in which faces are drawn


@dataclass(frozen=True)
class Spread:
    """True feature less predicted one: mean, main directions, and the standard deviation along each."""

    mean: Float32[np.ndarray, "feature_dim"]
    directions: Float32[np.ndarray, "kept feature_dim"]  # orthonormal
    deviations: Float32[np.ndarray, "kept"]

    @classmethod
    def fit(cls, residuals: Float[np.ndarray, "people feature_dim"]) -> "Spread":
        """From residuals of people from whom the predictions have not learned; UserError for fewer than three."""
        if len(residuals) < 3:
            raise UserError(f"The residuals of {len(residuals)} people have no spread: give at least three.")
        mean = residuals.mean(axis=0)
        _, singular, directions = np.linalg.svd(residuals - mean, full_matrices=False)
        variances = singular**2 / (len(residuals) - 1)
        share = np.cumsum(variances) / max(variances.sum(), 1e-30)
        kept = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, len(variances))
        return cls(*(np.asarray(a, np.float32) for a in (mean, directions[:kept], np.sqrt(variances[:kept]))))

    def draw(
        self, feature: Float32[np.ndarray, "feature_dim"], count: int, seed: int
    ) -> Float32[np.ndarray, "{count} feature_dim"]:
        """Features of faces that go with a prediction; equal seeds give equal faces."""
        steps = np.random.default_rng(seed).standard_normal((count, len(self.deviations)), dtype=np.float32)
        return feature + self.mean + (steps * self.deviations) @ self.directions

    def save(self, path: str | Path) -> None:
        """Write it as a safetensors file."""
        arrays.save(vars(self), path)

    @classmethod
    def load(cls, path: str | Path) -> "Spread":
        """What `save` wrote; UserError if the file is missing or something else."""
        found = arrays.load(path)
        shapes = {name: array.shape for name, array in found.items()}
        if set(found) != set(cls.__dataclass_fields__) or shapes["directions"] != (
            *shapes["deviations"],
            *shapes["mean"],
        ):
            raise UserError(f"{path} does not hold the spread of a model: make it again with the stage that writes it.")
        return cls(**found)
