"""Predicted features as pictures, by linear face decoders that never learned from the person who is drawn.

How strongly the regression from voices shrinks, and how directions of the feature are weighed, is chosen among the
training people by how often predictions find the true face. A decoder then starts from the regression of canonical
pictures on these predictions (`linear_decoder.start`), which shows what voices tell of, and is refined by analysis by
synthesis: its matrix is trained, by gradients through the networks that read the drawing, until drawings of predictions
read as these, exaggerated (`linear_decoder.Aim`). It is held near its start, so that not these networks alone find the
true face in a drawing.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from sklearn.pipeline import Pipeline
from torch import Tensor

from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Features, Fold, held_out
from s2f.metrics import similarity
from s2f.models import linear_decoder
from s2f.models.drawing_reader import DrawingReader, tensor
from s2f.models.linear_decoder import Aim, Canonical, Coefficients, Images, LinearDecoder, Parts, Synthesis, Traits
from s2f.study import blocks, code
from s2f.study.numbers import finite

Reader = Callable[[Tensor], tuple[Tensor, Tensor]]  # coefficients to the features and traits that are read
MakeReader = Callable[[Parts, Coefficients, Canonical], Reader]
MEMORY = 0.95  # of the running mean of features
WARM_UP = 48  # drawings from which that mean starts
LEARNING_RATE = 0.01  # of Adam, falling to zero


class Settings(NamedTuple):
    """How regressions and decoders learn."""

    penalties: Sequence[float]  # of the regression from voices, to choose from
    emphases: Sequence[float]  # of directions in which faces vary little, to choose from
    components: int  # of the texture
    exaggeration: float  # k, as far as faces vary as much
    directions: int  # in which predictions are drawn
    trait_spread: float  # of the traits that are drawn, in spreads of the true ones
    gains: tuple[float, float]  # of the expected texture and landmarks, where training starts
    anchor: float  # weight of the squared distance from there, in units of the variance there
    traits: float  # weight of the squared distance from each trait, in units of its variance; the feature's is one
    steps: int
    batch: int = 24
    moves: int = linear_decoder.MOVES  # components of the landmarks


@dataclass(frozen=True)
class Pairs:
    """Voices and faces to learn from, a row a person."""

    voice: Blocks  # features, an array for each kind
    faces: Features  # of the true faces
    traits: Traits  # of the true faces: apparent age (years) and skin tone (ITA, degrees)
    canonical: Canonical  # the pictures to learn to draw
    fold: Fold  # of each person, by which predictions are held out

    def of(self, kept: Bool[np.ndarray, "people"]) -> "Pairs":
        """Those of some of the people."""
        others = self.faces[kept], self.traits[kept], self.canonical.of(kept), self.fold[kept]
        return Pairs([block[kept] for block in self.voice], *others)


class Chosen(NamedTuple):
    """What finds the true faces of the training people most often."""

    penalty: float
    emphasis: float
    predicted: Features  # by regressions with this penalty, held out


class Learned(NamedTuple):
    """What draws a voice."""

    regression: Pipeline  # from voices to `directions` of faces
    aim: Aim
    decoder: LinearDecoder
    history: pd.DataFrame  # of training, see `refined`

    def meant(self, voice: Features) -> Features:
        """What drawings of these voices are to read as, less the mean face's feature."""
        return (self.regression.predict(voice) - self.aim.mean) @ self.aim.stretch

    def draw(self, voice: Features) -> Images:
        """The faces that go with these voices."""
        return self.decoder.draw(self.regression.predict(voice))


def directions(faces: Features) -> Features:
    """Faces moved to one distance from their mean, along the line to it.

    Cosines ask where a face lies, not how far; a regression on such targets is not led by faces far out.
    """
    mean = faces.mean(axis=0)
    away = faces - mean
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return mean + away * (length.mean() / length)


def choose(voice: Blocks, faces: Features, fold: Fold, settings: Settings) -> Chosen:
    """Choose the penalty and the emphasis by 1:2 matching, where each voice meets the faces of its own fold.

    Predictions of one fold share a regression; against faces of the others its mean would give voices away.

    Args:
        voice: features of the voices, an array for each kind.
        faces: features of the true faces.
        fold: the fold of each person.
        settings: what to choose among.
    """
    target, away = directions(faces), faces - faces.mean(axis=0)
    best, most = None, -1
    for penalty in settings.penalties:
        predicted = ridge.predict(voice, target, fold, penalties=[penalty])
        for emphasis in settings.emphases:
            aimed = predicted - faces.mean(axis=0)
            aimed = aimed @ linear_decoder.exaggerating(away, aimed, settings.exaggeration, emphasis)
            wins = 0
            for test in held_out(fold):
                scores = similarity.pairwise(aimed[test], away[test], "cosine")
                wins += int((scores < np.diagonal(scores)[:, None]).sum())
            if wins > most:
                best, most = Chosen(penalty, emphasis, predicted), wins
    return best


def learn(pairs: Pairs, settings: Settings, make_reader: MakeReader = DrawingReader) -> Learned:
    """A regression and a decoder that learned from all these people.

    Args:
        pairs: to learn from.
        settings: how to learn.
        make_reader: what reads drawings.
    """
    faces, traits, canonical = pairs.faces, pairs.traits, pairs.canonical
    finite(face_feature=faces, trait=traits, picture_feature=canonical.features)
    penalty, emphasis, predicted = choose(pairs.voice, faces, pairs.fold, settings)
    aim = Aim.of(faces, traits, predicted, settings.exaggeration, emphasis, settings.directions, settings.trait_spread)
    made = linear_decoder.parts(canonical.pictures, canonical.landmarks, settings.components, settings.moves)
    parts, coefficients = made
    start = linear_decoder.start(faces, predicted, coefficients, settings.components, aim, settings.gains)
    reader = make_reader(parts, coefficients, canonical)
    synthesis, history = refined(start, aim, reader, predicted, traits, settings)
    regression = ridge.fit(pairs.voice, directions(faces), penalties=[penalty])
    return Learned(regression, aim, LinearDecoder(parts, synthesis), history)


def refined(
    start: Synthesis, aim: Aim, reader: Reader, predicted: Features, traits: Traits, settings: Settings
) -> tuple[Synthesis, pd.DataFrame]:
    """A synthesis whose drawings read as meant, trained from `start` by gradients through what reads them.

    Args:
        start: where training begins, and what it stays near.
        aim: what drawings are to read as.
        reader: of drawings.
        predicted: features predicted from the voices, held out.
        traits: of the true faces, about whose means those of the drawings are to lie.
        settings: how to train.

    Returns:
        The synthesis, and a row a step: `cosine` of the feature that is read and the one that is meant, and the parts
        of the loss, `feature`, `traits` and `anchor`, all in units of variances.
    """
    away = predicted - aim.mean
    inputs = away @ aim.whiten
    first = np.linalg.lstsq(inputs, (1 + aim.exaggeration) * away @ start.matrix, rcond=None)[0]

    rows, meant = tensor(inputs), tensor(away @ aim.stretch)
    meant_traits, trait_scale = tensor(traits.mean(axis=0) + away @ aim.leaning), tensor(traits.std(axis=0))
    anchors, variance = rows @ tensor(first) + tensor(start.offset), meant.square().sum(dim=1).mean()
    # Textures and landmarks are amplified differently, and keep to their starts alike.
    parts = anchors.tensor_split([settings.components], dim=1)
    anchor_variance = torch.cat([part.var(dim=0).mean().expand(part.shape[1]) for part in parts])
    matrix, offset = tensor(first).requires_grad_(), tensor(start.offset).requires_grad_()
    optimiser = torch.optim.Adam([matrix, offset], LEARNING_RATE, betas=(0.9, 0.99))
    slowing = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, settings.steps)
    generator, order, history = torch.Generator().manual_seed(0), [], []
    with torch.no_grad():
        mean = reader(anchors[:WARM_UP])[0].mean(dim=0)
    for _ in range(settings.steps):
        if len(order) < settings.batch:
            order = torch.randperm(len(rows), generator=generator).tolist()
        batch, order = order[: settings.batch], order[settings.batch :]
        coefficients = rows[batch] @ matrix + offset
        features, looks = reader(coefficients)
        mean = MEMORY * mean + (1 - MEMORY) * features.detach().mean(dim=0)
        read = features - mean
        of_feature = (read - meant[batch]).square().sum(dim=1).mean() / variance
        of_traits = ((looks - meant_traits[batch]) / trait_scale).square().mean(dim=0).sum()
        of_anchor = ((coefficients - anchors[batch]).square() / anchor_variance).mean()
        loss = of_feature + settings.traits * of_traits + settings.anchor * of_anchor
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slowing.step()
        cosine = torch.nn.functional.cosine_similarity(read, meant[batch]).mean()
        history.append([float(value.detach()) for value in (cosine, of_feature, of_traits, of_anchor)])
    trained = aim.whiten @ matrix.detach().double().numpy() / (1 + aim.exaggeration)
    learned = start._replace(matrix=trained, offset=offset.detach().double().numpy())
    return learned, pd.DataFrame(history, columns=["cosine", "feature", "traits", "anchor"])


def draw(
    pairs: Pairs, settings: Settings, kept: Path, workers: int, make_reader: MakeReader = DrawingReader
) -> tuple[Images, Features, pd.DataFrame]:
    """Out-of-fold pictures from voices, what these are meant to read as, and how training went.

    Args:
        pairs: voices to draw from, and faces from which decoders learn to draw; of at least three folds.
        settings: how to learn.
        kept: folder in which finished folds are kept, so that an interrupted run goes on.
        workers: number of processes.
        make_reader: what reads drawings.

    Returns:
        The pictures; features less the mean face's; and the rows of `refined` with `fold` and `step`.
    """
    known = hashlib.sha256(repr((settings, code.digest(_draw_fold))).encode())
    for values in (*pairs.voice, pairs.faces, pairs.traits, *pairs.canonical, pairs.fold):
        known.update(np.ascontiguousarray(values))
    jobs = {
        part: (kept / f"{known.hexdigest()[:24]}-{part}.npz", partial(_draw_fold, part, pairs, settings, make_reader))
        for part in np.unique(pairs.fold).tolist()
    }
    blocks.keep(dict(jobs.values()), workers)
    images, meant, histories = np.empty_like(pairs.canonical.pictures), np.empty_like(pairs.faces), {}
    for part, (file, _) in jobs.items():
        made, test = blocks.load(file), pairs.fold == part
        images[test], meant[test] = made.pop("images"), made.pop("meant")
        histories[part] = pd.DataFrame(made)
    return images, meant, pd.concat(histories, names=["fold", "step"]).reset_index()


def _draw_fold(part: int, pairs: Pairs, settings: Settings, make_reader: MakeReader) -> blocks.Arrays:
    test = pairs.fold == part
    learned = learn(pairs.of(~test), settings, make_reader)
    rows = np.hstack(pairs.voice)[test]
    history = {name: column.to_numpy() for name, column in learned.history.items()}
    return {"images": learned.draw(rows), "meant": learned.meant(rows)} | history
