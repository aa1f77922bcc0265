"""A face decoder for a few hundred pairs: linear maps in place of the layers of `s2f.models.face_decoder`.

A face is again 68 landmarks and a texture, drawn with every landmark at its mean place and then warped (Cole et al.,
2017). Both are principal components, scaled so that coefficients have variance one among the faces learned from. The
texture is the logit of the picture: a sum of components stays between black and white, however far it is exaggerated.

Two regressions are learned: from the face feature to the coefficients, and a *reader*, from the coefficients to what
networks read in the picture, the feature and traits such as the apparent age. The first blurs what the second would
find, so the coefficients are chosen by analysis by synthesis: near those of the first, such that the drawing reads as
the prediction, exaggerated as far as true faces vary (`Aim`). All of this is linear, so that a drawing needs a product
with one matrix, and NumPy alone. `heads.drawing` refines that matrix through the networks themselves.
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
    """From features to coefficients of `Parts`, and what a drawing reads as."""

    mean: Float64[np.ndarray, "dim"]  # face feature
    matrix: Float64[np.ndarray, "dim coefficients"]  # from a feature less the mean
    offset: Float64[np.ndarray, "coefficients"]  # of the mean face
    regression: Float64[np.ndarray, "dim coefficients"]  # from the feature of a true face, less the mean
    usual: Float64[np.ndarray, ""]  # exaggeration k, for which the matrix was made

    def coefficients(self, features: Features, exaggeration: float | None = None) -> Coefficients:
        """Coefficients of the faces that go with features v, exaggerated: v + k (v - mean), k = `usual` if None.

        Directions in which faces do not vary as much were exaggerated less (`exaggerating`); k scales all alike.
        """
        k = self.usual if exaggeration is None else exaggeration
        return self.offset + (1 + k) * (features - self.mean) @ self.matrix

    def around(self, feature: Float[np.ndarray, "dim"], people: Features) -> Coefficients:
        """Coefficients of the faces of single people about the average face of a voice.

        The average is drawn as predictions are, and how people differ from it as true faces differ.

        Args:
            feature: of the average face.
            people: features of the single faces.
        """
        return self.coefficients(feature[None], 0.0) + (people - feature) @ self.regression


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
        """Coefficients of the faces of single people about an average face, see `Synthesis.around`."""
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


class Regressions(NamedTuple):
    """What pictures have to do with what networks read in them; each from numbers less their means."""

    coefficients: Float64[np.ndarray, "dim coefficients"]  # from the feature of the true face
    reader: Float64[np.ndarray, "coefficients dim"]  # to the feature of the picture
    traits: Float64[np.ndarray, "coefficients traits"]  # to traits read in the picture

    @classmethod
    def fit(cls, faces: Features, coefficients: Coefficients, read: Features, traits: Traits) -> "Regressions":
        """Learn from features of true faces, the coefficients of their canonical pictures, and what is read there."""
        return cls(ridge(faces, coefficients), ridge(coefficients, read), ridge(coefficients, traits))


class Aim(NamedTuple):
    """What drawings of predictions v are to read as: both are linear in v less the mean face's feature."""

    mean: Float64[np.ndarray, "dim"]  # feature of the mean face
    stretch: Float64[np.ndarray, "dim dim"]  # to the feature, less the same mean
    leaning: Float64[np.ndarray, "dim traits"]  # to the traits, less their means
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
    ) -> "Aim":
        """From true faces and predictions of the same people.

        The feature is the prediction, exaggerated (`exaggerating`), in those directions in which predictions vary most:
        what little the others tell is lost in drawing. Traits lie along the regression of the true ones on that, and
        vary among these people as much as the true ones do.

        Args:
            faces: features of the true faces.
            traits: of the true faces.
            predicted: features predicted from the voices, held out.
            exaggeration: k, as far as faces vary as much.
            emphasis: of directions in which faces vary little.
            directions: number of directions that are drawn.
        """
        mean = faces.mean(axis=0)
        stretch = exaggerating(faces - mean, predicted - mean, exaggeration, emphasis)
        _, axes = np.linalg.eigh(np.cov(((predicted - mean) @ stretch).T))
        drawn = axes[:, -directions:]
        stretch = stretch @ drawn @ drawn.T
        feature = (predicted - mean) @ stretch
        leaning = stretch @ ridge(feature, traits)
        leaning *= traits.std(axis=0) / ((predicted - mean) @ leaning).std(axis=0)
        return cls(mean, stretch, leaning, exaggeration)


def synthesis(regressions: Regressions, faces: Features, traits: Traits, aim: Aim, penalty: float) -> Synthesis:
    """Learn to draw predictions, as far as linear maps tell what is read in a drawing.

    Args:
        regressions: learned from the pictures of the same people.
        faces: features of the true faces.
        traits: of the true faces.
        aim: what drawings are to read as.
        penalty: of the squared distance from the coefficients of the regression, where the squared distance from the
            feature counts in units of its variance, and so does that from each trait.
    """
    spread, trait_spread = np.sqrt(faces.var(axis=0).sum()), traits.std(axis=0)
    reads = np.hstack([regressions.reader / spread, regressions.traits / trait_spread])
    wanted = np.hstack([aim.stretch / spread, aim.leaning / trait_spread])
    matrix = analysis_by_synthesis(aim.stretch @ regressions.coefficients, reads, wanted, penalty)
    offset = np.zeros(matrix.shape[1])
    exaggeration = np.asarray(aim.exaggeration, float)
    return Synthesis(aim.mean, matrix / (1 + aim.exaggeration), offset, regressions.coefficients, exaggeration)


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


def analysis_by_synthesis(
    regression: Float64[np.ndarray, "dim coefficients"],
    reader: Float64[np.ndarray, "coefficients numbers"],
    wanted: Float64[np.ndarray, "dim numbers"],
    penalty: float,
) -> Float64[np.ndarray, "dim coefficients"]:
    """The matrix S for which c = v S minimises |c reader - v wanted|^2 + penalty |c - v regression|^2, whatever v."""
    missed = wanted - regression @ reader
    return regression + np.linalg.solve(reader @ reader.T + penalty * np.eye(len(reader)), reader @ missed.T).T


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
