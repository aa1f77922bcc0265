"""A model to keep: head, decoder and readers of traits, learned from everybody, for `speech2face` to read.

How far a face can be trusted is estimated from out-of-fold predictions: by heads that have not learned from the
person.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.pipeline import Pipeline

from s2f.heads import drawing, ridge
from s2f.heads.drawing import Pairs
from s2f.heads.ridge import Blocks, Features, Fold
from s2f.metrics import robustness
from s2f.models import arrays, degraded, linear_decoder, speech2face
from s2f.models.degraded import CLEAN
from s2f.models.drawing_reader import DrawingReader
from s2f.models.limits import Limits
from s2f.models.linear_decoder import LinearDecoder
from s2f.models.readers import Readers
from s2f.models.speech2face import Embedded, Head
from s2f.models.spread import Spread

MOST_STRETCHED = 3.0  # times the coefficients of single faces


def head(regression: Pipeline, faces: Features, width: int) -> Head:
    """A ridge regression of faces on voices of `width` numbers as one linear map."""
    weights, offset = affine(regression, width)
    mean = faces.mean(axis=0)
    return Head(*(values.astype(np.float32) for values in (weights, offset - mean, mean)))


def affine(pipeline: Pipeline, width: int) -> tuple[Float[np.ndarray, "{width} dim"], Float[np.ndarray, "dim"]]:
    """The matrix and the offset of a pipeline all of whose steps are affine."""
    (offset,) = pipeline.predict(np.zeros((1, width)))
    return pipeline.predict(np.eye(width)) - offset, offset


def heads(voice: Blocks, faces: Features, fold: Fold, settings: drawing.Settings) -> dict[int, Head]:
    """For each fold the head that learned from the people of the others, and chose its penalty among them."""
    made, width = {}, sum(block.shape[1] for block in voice)
    for test in ridge.held_out(fold):
        others = [block[~test] for block in voice], faces[~test]
        penalty = drawing.choose(*others, fold[~test], settings).penalty
        regression = ridge.fit(others[0], drawing.directions(others[1]), penalties=[penalty])
        made[int(fold[test][0])] = head(regression, others[1], width)
    return made


def predicted(voice: Blocks, fold: Fold, made: dict[int, Head]) -> Features:
    """Predictions, less the mean face's feature, by the head of each row's fold."""
    rows = np.hstack(voice).astype(np.float32)
    return np.stack([made[part](row[None])[0] for row, part in zip(rows, fold.tolist(), strict=True)]).astype(float)


def limits(
    clean: Features,
    people: Int[np.ndarray, "clips"],
    copies: pd.DataFrame,
    seen: Sequence[Embedded | None],
    made: Sequence[Head],
) -> Limits:
    """The domain of predictions and their errors.

    Args:
        clean: out-of-fold predictions for recordings as they are.
        people: who speaks in each.
        copies: the table of `degraded.embed`, of some recordings.
        seen: what it returns beside it.
        made: for each copy a head that has not learned from its speaker.
    """
    signs, features = degraded.predictions(seen, made)
    angle = robustness.angles_to_first(features, copies["clip"])
    learning = (~copies["refused"] & (copies["condition"] != CLEAN) & np.isfinite(angle)).to_numpy()
    return Limits.fit(
        clean.astype(np.float32), people, features[learning], signs[learning], np.asarray(angle)[learning]
    )


def varying(decoder: LinearDecoder, faces: Features) -> LinearDecoder:
    """The decoder, drawing single faces (`around`) that differ as true ones do.

    A regression of coefficients on features draws the part of a difference that features hold. Each coefficient is
    stretched until it varies among true faces as their pictures do, by one; one of which features hold hardly anything
    less far, as it would follow their noise.

    Args:
        decoder: what learned from these people.
        faces: features of their true faces.
    """
    regression = decoder.synthesis.regression
    drawn = ((faces - faces.mean(axis=0)) @ regression).std(axis=0)
    stretched = regression / np.maximum(drawn, 1 / MOST_STRETCHED)
    return replace(decoder, synthesis=decoder.synthesis._replace(regression=stretched))


def write(
    models: Path,
    pairs: Pairs,
    female: Bool[np.ndarray, "people"],
    held_out: Features,
    settings: drawing.Settings,
    make_reader: drawing.MakeReader = DrawingReader,
) -> None:
    """Write head, decoder, spread and readers, learned from all pairs.

    Args:
        models: folder to write to.
        pairs: to learn from.
        female: apparent sex of the true faces.
        held_out: out-of-fold predictions, less the mean face's feature.
        settings: how the decoder learns.
        make_reader: what reads drawings.
    """
    learned = drawing.learn(pairs, settings, make_reader)
    width = sum(block.shape[1] for block in pairs.voice)
    arrays.save(vars(head(learned.regression, pairs.faces, width)), models / speech2face.HEAD)
    arrays.save(varying(learned.decoder, pairs.faces).arrays(), models / speech2face.DECODER)
    # Predictions shrink towards the mean by what finds faces best; true faces vary about what they lead one to expect.
    expected = held_out @ linear_decoder.ridge(held_out, pairs.faces)
    Spread.fit(pairs.faces - pairs.faces.mean(axis=0) - expected).save(models / speech2face.SPREAD)
    traits = {"age": pairs.traits[:, 0], "female": female, "skin": pairs.traits[:, 1]}
    Readers.fit(held_out, traits, np.arange(len(held_out))).save(models / speech2face.READERS)
