"""Predicted features as pictures, by linear face decoders that never learned from the person who is drawn.

What a drawing is to read as is chosen among the training people of each fold: how far a prediction is exaggerated, how
directions are weighed, and how near the drawing stays to a plain regression (`linear_decoder.synthesis`).
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Features, Fold, held_out
from s2f.metrics import similarity
from s2f.models import linear_decoder
from s2f.models.linear_decoder import Canonical, Images, LinearDecoder, Regressions, Traits
from s2f.study.numbers import finite

INNER_FOLDS = 3  # in which settings are chosen; people who share a fold share an inner one


class Settings(NamedTuple):
    """What is chosen, and among what."""

    components: int  # of the texture
    penalties: Sequence[float]
    exaggerations: Sequence[float]
    emphases: Sequence[float]
    moves: int = linear_decoder.MOVES  # components of the landmarks


def directions(faces: Features) -> Features:
    """Faces moved to one distance from their mean, along the line to it.

    Cosines ask where a face lies, not how far; a regression on such targets is not led by faces far out.
    """
    mean = faces.mean(axis=0)
    away = faces - mean
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return mean + away * (length.mean() / length)


def learn(
    faces: Features, traits: Traits, predicted: Features, canonical: Canonical, fold: Fold, settings: Settings
) -> tuple[LinearDecoder, dict[str, float]]:
    """A decoder that learned from all these people, and the settings chosen among them.

    Args:
        faces: features of the true faces.
        traits: of the true faces.
        predicted: features predicted from the voices, held out.
        canonical: the pictures to learn to draw.
        fold: the fold of each person, of at least three.
        settings: what to choose among.
    """
    finite(face_feature=faces, trait=traits, prediction=predicted, picture_feature=canonical.features)
    size = settings.components, settings.moves
    parts, coefficients = linear_decoder.parts(canonical.pictures, canonical.landmarks, *size)
    pictures = faces, coefficients, canonical.features, canonical.traits
    tried = list(product(settings.penalties, settings.exaggerations, settings.emphases))
    wins = np.zeros(len(tried))
    for test in held_out(fold % INNER_FOLDS):
        regressions = Regressions.fit(*(values[~test] for values in pictures))
        judge = linear_decoder.ridge(coefficients[test], canonical.features[test])  # knows nobody who is learned from
        for place, options in enumerate(tried):
            known = faces[~test], traits[~test], predicted[~test]
            drawn = linear_decoder.synthesis(regressions, *known, *options).coefficients(predicted[test]) @ judge
            scores = similarity.pairwise(drawn, faces - known[0].mean(axis=0), "cosine")
            own = scores[np.arange(len(scores)), np.flatnonzero(test)]
            wins[place] += (scores < own[:, None]).sum()
    chosen = tried[wins.argmax()]
    learned = linear_decoder.synthesis(Regressions.fit(*pictures), faces, traits, predicted, *chosen)
    return LinearDecoder(parts, learned), dict(zip(("penalty", "exaggeration", "emphasis"), chosen, strict=True))


def draw(
    voice: Blocks, faces: Features, traits: Traits, canonical: Canonical, fold: Fold, settings: Settings
) -> tuple[Images, list[dict[str, float]]]:
    """Out-of-fold pictures from voices, and the settings chosen for each fold.

    Args:
        voice: features of the voices, an array for each kind.
        faces: features of the true faces.
        traits: of the true faces.
        canonical: pictures of the same people, from which decoders learn to draw.
        fold: the fold of each person, of at least four.
        settings: what to choose among.
    """
    images, chosen = np.empty_like(canonical.pictures), []
    for test in held_out(fold):
        others = [block[~test] for block in voice], directions(faces[~test])
        predicted = ridge.predict(*others, fold[~test])
        learned = faces[~test], traits[~test], predicted, canonical.of(~test), fold[~test]
        decoder, settled = learn(*learned, settings)
        images[test] = decoder.draw(ridge.fit(*others).predict(np.hstack(voice)[test]))
        chosen.append(settled)
    return images, chosen


def draw_elsewhere(
    voice: Blocks,
    faces: Features,
    traits: Traits,
    canonical: Canonical,
    fold: Fold,
    settings: Settings,
    other_voice: Sequence[Float[np.ndarray, "others _"]],
) -> UInt8[np.ndarray, "others size size 3"]:
    """Pictures from voices of other people, by a regression and a decoder that learned from everybody in this set."""
    target = directions(faces)
    decoder, _ = learn(faces, traits, ridge.predict(voice, target, fold), canonical, fold, settings)
    return decoder.draw(ridge.fit(voice, target).predict(np.hstack(other_voice)))
