"""A face decoder for a few hundred pairs: linear regression in place of the layers of `s2f.models.face_decoder`.

A face is again 68 landmarks and a texture, drawn with every landmark at its mean place and then warped (Cole et al.,
2017). Both are ridge regressions on the face feature, the texture by its principal components.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from s2f.data.batches import as_images, chunks
from s2f.models.face_decoder import LANDMARKS
from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

Images = UInt8[np.ndarray, "people size size 3"]
Points = Float[np.ndarray, "people 68 2"]  # px

PENALTIES = np.logspace(-2, 4, 19)
BATCH = 64  # faces that are warped together


@dataclass(frozen=True)
class LinearDecoder:
    """Draws frontal, evenly lit faces from features."""

    regression: Pipeline  # feature to texture components and displacements of the landmarks
    textures: PCA
    mean: Float[np.ndarray, "68 2"]  # landmarks, px
    spline: Float32[Tensor, "pixels 68"]

    @classmethod
    def fit(
        cls, features: Float[np.ndarray, "people dim"], images: Images, landmarks: Points, components: int
    ) -> "LinearDecoder":
        """Learn from features of faces and their canonical pictures; UserError for fewer people than components."""
        if len(images) <= components:
            raise UserError(f"{len(images)} faces are too few for {components} components: ask for fewer components.")
        mean = landmarks.mean(axis=0)
        spline = landmark_spline(torch.from_numpy(mean).double(), images.shape[1]).float()
        painted = _unwarped(images, landmarks - mean, spline)
        textures = PCA(components, svd_solver="randomized", random_state=0).fit(painted)
        target = np.hstack([textures.transform(painted), (landmarks - mean).reshape(len(landmarks), -1)])
        # A penalty for each number: a feature predicts some components well and others not at all.
        regression = make_pipeline(StandardScaler(), RidgeCV(PENALTIES, alpha_per_target=True))
        return cls(regression.fit(features, target), textures, mean, spline)

    def draw(self, features: Float[np.ndarray, "people dim"]) -> Images:
        """The faces that go with features, true or predicted."""
        predicted = self.regression.predict(features)
        size = round(len(self.spline) ** 0.5)
        painted = self.textures.inverse_transform(predicted[:, : -2 * LANDMARKS]).reshape(-1, 3, size, size)
        apart = predicted[:, -2 * LANDMARKS :].reshape(-1, LANDMARKS, 2)
        drawn = []
        for part in chunks(len(predicted), BATCH):
            flow = (self.spline @ torch.from_numpy(apart[part]).float()).mT.unflatten(2, (size, size))
            image = warp(torch.from_numpy(painted[part]).float(), flow).clamp(0, 1)
            drawn.append((255 * image).round().byte().permute(0, 2, 3, 1).numpy())
        return np.concatenate(drawn)


def _unwarped(images: Images, apart: Points, spline: Float32[Tensor, "pixels 68"]) -> Float32[np.ndarray, "people _"]:
    """Pictures with every landmark moved to its mean place, one in each row; `apart` is the displacement, px."""
    size = images.shape[1]
    centres = F.affine_grid(torch.eye(2, 3)[None], (1, 3, size, size), align_corners=False)
    rows = []
    for part in chunks(len(images), BATCH):
        # Here the source of each pixel of the texture is known; `warp` has to invert the flow.
        flow = (spline @ torch.from_numpy(apart[part]).float()).unflatten(1, (size, size))
        grid = centres + flow * (2 / size)  # from px to a square of side 2
        image = as_images(torch.from_numpy(images[part]))
        rows.append(F.grid_sample(image, grid, padding_mode="border", align_corners=False).flatten(1).numpy())
    return np.concatenate(rows)
