"""A face decoder for a few hundred pairs: linear maps in place of the layers of `s2f.models.face_decoder`.

A face is again 68 landmarks and a texture, drawn with every landmark at its mean place and then warped (Cole et al.,
2017). Both are principal components, scaled so that coefficients have variance one among the faces learned from. The
texture is the logit of the picture: a sum of components stays between black and white, however far it is exaggerated.

Coefficients follow predictions by a linear map, which starts as a regression (`start`): what coefficients are to be
expected, amplified. All of this is linear, so that a drawing needs a product with one matrix, and NumPy alone.
`heads.drawing` trains that matrix, through the networks that read a picture, until drawings read as predictions,
exaggerated as far as true faces vary (`Aim`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Float64, Shaped, UInt8

from s2f.signal import numpy_warping
from s2f.study.paths import UserError

Features = Float[np.ndarray, "people dim"]
Traits = Float[np.ndarray, "people traits"]
Coefficients = Float[np.ndarray, "people coefficients"]
Images = UInt8[np.ndarray, "people size size 3"]
Points = Float[np.ndarray, "people 68 2"]  # px

MOVES = 40  # components of the landmarks
PENALTIES = np.logspace(-1, 4, 11)
# What textures tend to, of 255: pictures hold hardly anything darker than the first, and much that is white.
DARKEST, LIGHTEST = 10, 259
MARGIN = 0.012  # of the range between them, at which logits are cut
BATCH = 32  # faces of which textures are made at once


class Canonical(NamedTuple):
    """Canonical pictures of people, and what networks read in them."""

    pictures: Images
    landmarks: Points
    features: Features
    traits: Traits

    def of(self, kept: Bool[np.ndarray, "people"]) -> "Canonical":
        """Those of some of the people."""
        return Canonical(*(values[kept] for values in self))


class Parts(NamedTuple):
    """What faces are made of: principal components of textures and of landmarks, scaled by their spread."""

    texture_mean: Float32[np.ndarray, "size size 3"]  # logit
    textures: Float16[np.ndarray, "textures size size 3"]
    landmark_mean: Float64[np.ndarray, "68 2"]  # px
    landmark_axes: Float64[np.ndarray, "moves 68 2"]
    flows: Float16[np.ndarray, "moves size size 2"]  # px, of every pixel along with the landmarks


class Synthesis(NamedTuple):
    """From features to coefficients of `Parts`."""

    mean: Float64[np.ndarray, "dim"]  # face feature
    matrix: Float64[np.ndarray, "dim coefficients"]  # from a prediction less the mean
    offset: Float64[np.ndarray, "coefficients"]  # of the mean face
    expected: Float64[np.ndarray, "dim coefficients"]  # from a prediction less the mean, not exaggerated
    regression: Float64[np.ndarray, "dim coefficients"]  # from the feature of a true face less the mean
    usual: Float64[np.ndarray, ""]  # exaggeration k, for which the matrix was made

    def coefficients(self, features: Features, exaggeration: float | None = None) -> Coefficients:
        """Coefficients of the faces that go with features v, exaggerated: v + k (v - mean), k = `usual` if None.

        Directions in which faces do not vary as much were exaggerated less (`exaggerating`); k scales all alike.
        """
        k = self.usual if exaggeration is None else exaggeration
        return self.offset + (1 + k) * (features - self.mean) @ self.matrix

    def around(self, feature: Float[np.ndarray, "dim"], people: Features) -> Coefficients:
        """Coefficients of the faces of single people about what is to be expected of a voice, not exaggerated.

        Args:
            feature: predicted from the voice.
            people: features of the single faces.
        """
        return self.offset + (feature - self.mean) @ self.expected + (people - feature) @ self.regression


@dataclass(frozen=True)
class LinearDecoder:
    """Draws frontal, evenly lit faces from features; arrays only, so that it is saved and loaded as it is."""

    parts: Parts
    synthesis: Synthesis

    @property
    def mean(self) -> Float64[np.ndarray, "dim"]:
        """The feature of the mean face."""
        return self.synthesis.mean

    def coefficients(self, features: Features, exaggeration: float | None = None) -> Coefficients:
        """Coefficients of the faces that go with features, see `Synthesis.coefficients`."""
        return self.synthesis.coefficients(features, exaggeration)

    def around(self, feature: Float[np.ndarray, "dim"], people: Features) -> Coefficients:
        """Coefficients of the faces of single people who go with a voice, see `Synthesis.around`."""
        return self.synthesis.around(feature, people)

    def landmarks(self, coefficients: Coefficients) -> Points:
        """The 68 landmarks of the faces with these coefficients, px."""
        moved = coefficients[:, len(self.parts.textures) :]
        return self.parts.landmark_mean + np.tensordot(moved, self.parts.landmark_axes, 1)

    def render(self, coefficients: Coefficients) -> Images:
        """The faces with these coefficients."""
        mean, textures, _, _, flows = self.parts
        images = np.empty((len(coefficients), *mean.shape), dtype=np.uint8)
        painted, moved = np.split(coefficients.astype(np.float32), [len(textures)], axis=1)
        textures, flows = textures.astype(np.float32), flows.astype(np.float32)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            faces, moves = mean + np.tensordot(painted[part], textures, 1), np.tensordot(moved[part], flows, 1)
            for image, face, flow in zip(images[part], faces, moves, strict=True):
                image[:] = picture(numpy_warping.warp(face, flow))
        return images

    def draw(self, features: Features, exaggeration: float | None = None) -> Images:
        """The faces that go with features, true or predicted."""
        return self.render(self.coefficients(features, exaggeration))

    def arrays(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """All that it consists of, by name."""
        return self.parts._asdict() | self.synthesis._asdict()

    @classmethod
    def of(cls, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> "LinearDecoder":
        """The decoder that consists of these `arrays`; others among them are left alone."""
        return cls(*(kind(*(arrays[name] for name in kind._fields)) for kind in (Parts, Synthesis)))


def parts(pictures: Images, landmarks: Points, textures: int, moves: int = MOVES) -> tuple[Parts, Coefficients]:
    """Components of pictures, and the coefficients of these.

    Args:
        pictures: canonical pictures.
        landmarks: of the pictures, px.
        textures: number of components of the texture.
        moves: number of components of the landmarks.

    Raises:
        UserError: for fewer pictures than components.
    """
    if len(pictures) <= (most := max(textures, moves)):
        raise UserError(f"{len(pictures)} faces are too few for {most} components: ask for fewer components.")
    import torch

    from s2f.signal.warping import landmark_spline

    size, mean = pictures.shape[1], landmarks.mean(axis=0)
    spline = landmark_spline(torch.from_numpy(mean).double(), size).numpy().astype(np.float32)
    unwarped = logit(np.stack([_unwarped(*face, spline) for face in zip(pictures, landmarks - mean, strict=True)]))
    texture_mean, texture_axes, painted = _components(unwarped, textures)
    _, landmark_axes, moved = _components(landmarks, moves)
    flows = (spline @ landmark_axes.astype(np.float32)).reshape(-1, size, size, 2)
    made = Parts(texture_mean, texture_axes.astype(np.float16), mean, landmark_axes, flows.astype(np.float16))
    return made, np.hstack([painted, moved])


class Aim(NamedTuple):
    """What drawings of predictions v are to read as: both are linear in v less the mean face's feature."""

    mean: Float64[np.ndarray, "dim"]  # feature of the mean face
    stretch: Float64[np.ndarray, "dim dim"]  # to the feature, less the same mean
    leaning: Float64[np.ndarray, "dim traits"]  # to the traits, less their means
    whiten: Float64[np.ndarray, "dim inputs"]  # to what both depend on: numbers that vary by one each, uncorrelated
    exaggeration: float

    @classmethod
    def of(
        cls,
        faces: Features,
        traits: Traits,
        predicted: Features,
        exaggeration: float,
        emphasis: float,
        directions: int,
        trait_spread: float,
    ) -> "Aim":
        """From true faces and predictions of the same people.

        The feature is the prediction, exaggerated (`exaggerating`), in those directions in which predictions vary most:
        what little the others tell is lost in drawing. Traits lie along their regression on the whole prediction.

        Args:
            faces: features of the true faces.
            traits: of the true faces.
            predicted: features predicted from the voices, held out.
            exaggeration: k, as far as faces vary as much.
            emphasis: of directions in which faces vary little.
            directions: number of directions that are drawn.
            trait_spread: of the traits, in spreads of the true ones.
        """
        mean = faces.mean(axis=0)
        away = predicted - mean
        stretch = exaggerating(faces - mean, away, exaggeration, emphasis)
        _, axes = np.linalg.eigh(np.cov((away @ stretch).T))
        drawn = axes[:, -directions:]
        stretch = stretch @ drawn @ drawn.T
        leaning = ridge(away, traits)
        leaning *= trait_spread * traits.std(axis=0) / (away @ leaning).std(axis=0)
        both = np.hstack([stretch, leaning])
        _, spread, axes = np.linalg.svd(away @ both - (away @ both).mean(axis=0), full_matrices=False)
        inputs = np.count_nonzero(spread > spread[0] * np.finfo(np.float32).eps)
        whiten = both @ axes[:inputs].T / spread[:inputs] * np.sqrt(len(away))
        return cls(mean, stretch, leaning, whiten, exaggeration)


def start(
    faces: Features,
    predicted: Features,
    coefficients: Coefficients,
    textures: int,
    aim: Aim,
    gains: tuple[float, float],
) -> Synthesis:
    """What coefficients are to be expected, by least squares, amplified.

    Args:
        faces: features of the true faces.
        predicted: features predicted from the voices of the same people, held out.
        coefficients: of canonical pictures of them.
        textures: number of those coefficients, the first, that paint.
        aim: what drawings are to read as.
        gains: by what expected coefficients are multiplied, those of the texture and those of the landmarks.
    """
    away = predicted - aim.mean
    known = np.column_stack([away @ aim.whiten, np.ones(len(away))])
    *slopes, offset = np.linalg.lstsq(known, coefficients, rcond=None)[0]
    expected = aim.whiten @ np.array(slopes)
    gain = np.where(np.arange(coefficients.shape[1]) < textures, *gains)
    regression, usual = ridge(faces, coefficients), np.asarray(aim.exaggeration, float)
    return Synthesis(aim.mean, expected * gain / (1 + usual), offset, expected, regression, usual)


def exaggerating(
    faces: Features, predicted: Features, exaggeration: float, emphasis: float
) -> Float64[np.ndarray, "dim dim"]:
    """The matrix that exaggerates predictions, each direction by its own factor.

    First the principal directions of faces are weighed by the power -emphasis of their variance: cosines of drawings
    would else follow the few directions in which faces vary most. Then the principal directions of the predictions are
    exaggerated by 1 + k, but none beyond the spread of true faces: sex, which voices tell of best, needs far less
    than the rest.

    Args:
        faces: true features less their mean.
        predicted: of the same people, less the same mean.
        exaggeration: k.
        emphasis: 0 leaves the directions as they are.
    """
    variance, directions = np.linalg.eigh(np.cov(faces.T))
    # A direction without variance is weighed as one with a fiftieth of the mean.
    weighing = directions * (variance / variance.mean() + 0.02) ** -emphasis @ directions.T
    weighing *= np.sqrt(predicted.var(axis=0).sum() / (predicted @ weighing).var(axis=0).sum())
    variance, directions = np.linalg.eigh(np.cov((predicted @ weighing).T))
    true = np.square(faces @ directions).mean(axis=0)
    factors = np.sqrt(true / np.maximum(variance, true / (1 + exaggeration) ** 2))
    return weighing @ (directions * factors) @ directions.T


def logit(pictures: Shaped[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
    """Pictures (0 to 255) as numbers without bounds."""
    part = ((pictures.astype(np.float32) - DARKEST) / (LIGHTEST - DARKEST)).clip(MARGIN, 1 - MARGIN)
    return np.log(part / (1 - part))


def picture(texture: Float32[np.ndarray, "*any"]) -> UInt8[np.ndarray, "*any"]:
    """The inverse of `logit`."""
    lightness = DARKEST + (LIGHTEST - DARKEST) * (0.5 + 0.5 * np.tanh(texture / 2))
    return lightness.clip(0, 255).round().astype(np.uint8)


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


def ridge(
    inputs: Float[np.ndarray, "people _"], target: Float[np.ndarray, "people _"]
) -> Float64[np.ndarray, "inputs targets"]:
    """Ridge regression of numbers less their means; each target has the penalty that predicts left-out people best."""
    from sklearn.linear_model import RidgeCV

    scale = inputs.std(axis=0)
    model = RidgeCV(PENALTIES, alpha_per_target=True).fit((inputs - inputs.mean(axis=0)) / scale, target)
    return (np.reshape(model.coef_, (-1, len(scale))) / scale).T  # flat for one target


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
