"""A face decoder for a few hundred pairs: linear maps in place of the layers of `s2f.models.face_decoder`.

A face is again 68 landmarks and a texture, drawn with every landmark at its mean place and then warped (Cole et al.,
2017). Both are principal components, scaled so that coefficients have variance one among the faces learned from. The
texture is the logit of the picture: a sum of components stays between black and white, however far it is exaggerated.

Two regressions are learned: from the face feature to the coefficients, and a *reader*, from the coefficients to the
feature that the recognition network reads in the picture. The first blurs what the second would find, so the
coefficients are chosen by analysis by synthesis: near those of the first, such that the drawing reads as the feature.
Both are linear, hence so is the choice, and a drawing is a product with one matrix, NumPy alone.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Float16, Float32, Float64, Shaped, UInt8

from s2f.signal import numpy_warping
from s2f.study.paths import UserError

Features = Float[np.ndarray, "people dim"]
Coefficients = Float[np.ndarray, "people coefficients"]
Images = UInt8[np.ndarray, "people size size 3"]
Points = Float[np.ndarray, "people 68 2"]  # px

MOVES = 40  # components of the landmarks
PENALTIES = np.logspace(-2, 5, 22)
MARGIN = 0.02  # by which pictures are drawn in from black and white, whose logit is infinite
BATCH = 32  # faces of which textures are made at once


@dataclass(frozen=True)
class LinearDecoder:
    """Draws frontal, evenly lit faces from features; arrays only, so that it is saved and loaded as it is."""

    mean: Float64[np.ndarray, "dim"]  # face feature
    synthesis: Float64[np.ndarray, "dim coefficients"]  # from a feature less the mean, with analysis by synthesis
    reader: Float64[np.ndarray, "coefficients dim"]  # to the feature read in the picture, less its mean
    texture_mean: Float32[np.ndarray, "size size 3"]  # logit
    textures: Float16[np.ndarray, "textures size size 3"]
    landmark_mean: Float64[np.ndarray, "68 2"]  # px
    landmark_axes: Float64[np.ndarray, "moves 68 2"]
    flows: Float16[np.ndarray, "moves size size 2"]  # px, of every pixel along with the landmarks

    @classmethod
    def fit(
        cls,
        features: Features,
        pictures: Images,
        landmarks: Points,
        read: Float[np.ndarray, "people dim"],
        components: int,
        penalty: float,
        moves: int = MOVES,
    ) -> "LinearDecoder":
        """Learn to draw.

        Args:
            features: of the true faces.
            pictures: canonical pictures of the same faces.
            landmarks: of the pictures, px.
            read: features that the same network reads in the pictures.
            components: of the texture.
            penalty: of the squared distance from the regression's coefficients, where the squared distance from the
                feature counts in units of its variance.
            moves: components of the landmarks.

        Raises:
            UserError: for fewer people than components.
        """
        if len(pictures) <= (most := max(components, moves)):
            raise UserError(f"{len(pictures)} faces are too few for {most} components: ask for fewer components.")
        import torch

        from s2f.signal.warping import landmark_spline

        size, mean = pictures.shape[1], landmarks.mean(axis=0)
        spline = landmark_spline(torch.from_numpy(mean).double(), size).numpy().astype(np.float32)
        textures = logit(np.stack([_unwarped(*face, spline) for face in zip(pictures, landmarks - mean, strict=True)]))
        texture_mean, texture_axes, painted = _components(textures, components)
        _, landmark_axes, moved = _components(landmarks, moves)
        target = np.hstack([painted, moved])
        regression, reader = _ridge(features, target), _ridge(target, read)
        return cls(
            features.mean(axis=0),
            analysis_by_synthesis(regression, reader, penalty * read.var(axis=0).sum()),
            reader,
            texture_mean,
            texture_axes.astype(np.float16),
            mean,
            landmark_axes,
            (spline @ landmark_axes.astype(np.float32)).reshape(-1, size, size, 2).astype(np.float16),
        )

    def coefficients(self, features: Features, exaggeration: float = 0.0) -> Coefficients:
        """Coefficients of the faces that go with features v, true or predicted, exaggerated: v + k (v - mean)."""
        return (1 + exaggeration) * (features - self.mean) @ self.synthesis

    def landmarks(self, coefficients: Coefficients) -> Points:
        """The 68 landmarks of the faces with these coefficients, px."""
        return self.landmark_mean + np.tensordot(coefficients[:, len(self.textures) :], self.landmark_axes, 1)

    def render(self, coefficients: Coefficients) -> Images:
        """The faces with these coefficients."""
        images = np.empty((len(coefficients), *self.texture_mean.shape), dtype=np.uint8)
        painted, moved = np.split(coefficients.astype(np.float32), [len(self.textures)], axis=1)
        textures, flows = self.textures.astype(np.float32), self.flows.astype(np.float32)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            faces = self.texture_mean + np.tensordot(painted[part], textures, 1)
            moves = np.tensordot(moved[part], flows, 1)
            for image, face, flow in zip(images[part], faces, moves, strict=True):
                image[:] = picture(numpy_warping.warp(face, flow))
        return images

    def draw(self, features: Features, exaggeration: float = 0.0) -> Images:
        """The faces that go with features, true or predicted."""
        return self.render(self.coefficients(features, exaggeration))

    def arrays(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """All that it consists of, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: dict[str, Shaped[np.ndarray, "..."]]) -> "LinearDecoder":
        """The decoder that consists of these `arrays`; others among them are left alone."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def logit(pictures: Shaped[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
    """Pictures (0 to 255) as numbers without bounds."""
    part = MARGIN + (1 - 2 * MARGIN) / 255 * pictures.astype(np.float32)
    return np.log(part / (1 - part))


def picture(texture: Float32[np.ndarray, "*any"]) -> UInt8[np.ndarray, "*any"]:
    """The inverse of `logit`; what lies beyond black and white is black and white."""
    part = (1 / (1 + np.exp(-texture)) - MARGIN) / (1 - 2 * MARGIN)
    return (255 * part.clip(0, 1)).round().astype(np.uint8)


def analysis_by_synthesis(
    regression: Float64[np.ndarray, "dim coefficients"], reader: Float64[np.ndarray, "coefficients dim"], penalty: float
) -> Float64[np.ndarray, "dim coefficients"]:
    """The matrix S for which c = v S minimises |c reader - v|^2 + penalty |c - v regression|^2, whatever v."""
    missed = np.eye(len(regression)) - regression @ reader
    return regression + np.linalg.solve(reader @ reader.T + penalty * np.eye(len(reader)), reader @ missed.T).T


def _components(
    values: Float[np.ndarray, "people *shape"], count: int
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "count *shape"], Float64[np.ndarray, "people count"]]:
    """Mean, principal axes times the standard deviation along them, and the coefficients, of variance one."""
    mean = values.mean(axis=0)
    centred = (values - mean).reshape(len(values), -1)
    # From the products of people, of whom there are fewer than pixels.
    spread, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    coefficients = vectors[:, : -count - 1 : -1] * len(values) ** 0.5
    axes = coefficients.T.astype(centred.dtype) @ centred / len(values)
    return mean, axes.reshape(count, *mean.shape), coefficients


def _ridge(
    inputs: Float[np.ndarray, "people _"], target: Float[np.ndarray, "people _"]
) -> Float64[np.ndarray, "inputs targets"]:
    """Ridge regression of numbers less their means; each target has the penalty that predicts left-out people best."""
    from sklearn.linear_model import RidgeCV

    scale = inputs.std(axis=0)
    model = RidgeCV(PENALTIES, alpha_per_target=True).fit((inputs - inputs.mean(axis=0)) / scale, target)
    return (model.coef_ / scale).T


def _unwarped(
    picture: UInt8[np.ndarray, "size size 3"],
    moved: Float[np.ndarray, "68 2"],
    spline: Float32[np.ndarray, "pixels 68"],
) -> Float32[np.ndarray, "size size 3"]:
    """A picture with every landmark moved to its mean place; `moved` is how far it lies from there, px."""
    size = len(picture)
    y, x = np.indices((size, size), dtype=np.float32)
    # Here the source of each pixel of the texture is known; `warp` has to invert the flow.
    flow = (spline @ moved.astype(np.float32)).reshape(size, size, 2)
    return numpy_warping.sample(picture.astype(np.float32), x + flow[..., 0], y + flow[..., 1])
