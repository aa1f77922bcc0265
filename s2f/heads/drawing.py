"""Predicted features as pictures, by linear face decoders that never learned from the person who is drawn.

How strongly the regression from voices shrinks, and how directions of the feature are weighed, is chosen among the
training people by how often predictions find the true face. A decoder then starts from regressions
(`linear_decoder.synthesis`) and is refined by analysis by synthesis proper: its matrix is trained, by gradients through
the networks that read the drawing, until drawings of predictions read as these, exaggerated (`linear_decoder.Aim`).
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor

from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Features, Fold, held_out
from s2f.metrics import similarity
from s2f.models import linear_decoder
from s2f.models.drawing_reader import DrawingReader
from s2f.models.linear_decoder import (
    Aim,
    Canonical,
    Coefficients,
    Images,
    LinearDecoder,
    Parts,
    Regressions,
    Synthesis,
    Traits,
)
from s2f.study import blocks, code
from s2f.study.numbers import finite

Reader = Callable[[Tensor], tuple[Tensor, Tensor]]  # coefficients to the features and traits that are read
MakeReader = Callable[[Parts, Coefficients, Canonical], Reader]
MEMORY = 0.95  # of the running mean of features
WARM_UP = 48  # drawings from which that mean starts


class Settings(NamedTuple):
    """How regressions and decoders learn."""

    penalties: Sequence[float]  # of the regression from voices, to choose from
    emphases: Sequence[float]  # of directions in which faces vary little, to choose from
    components: int  # of the texture
    exaggeration: float  # k, as far as faces vary as much
    directions: int  # in which predictions are drawn
    closeness: float  # penalty of coefficients other than those of a regression, at the start of training
    anchor: float  # weight of the squared distance from the start, in units of the variance there
    traits: float  # weight of the squared distance from each trait, in units of its variance; the feature's is one
    steps: int
    batch: int = 24
    rate: float = 0.01  # of Adam, falling to zero
    moves: int = linear_decoder.MOVES  # components of the landmarks
    seed: int = 0  # of the batches


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


def learn(
    voice: Blocks,
    faces: Features,
    traits: Traits,
    canonical: Canonical,
    fold: Fold,
    settings: Settings,
    make_reader: MakeReader = DrawingReader,
) -> Learned:
    """A regression and a decoder that learned from all these people.

    Args:
        voice: features of the voices, an array for each kind.
        faces: features of the true faces.
        traits: of the true faces: apparent age (years) and skin tone (ITA, degrees).
        canonical: the pictures to learn to draw.
        fold: the fold of each person, by which predictions are held out.
        settings: how to learn.
        make_reader: what reads drawings.
    """
    finite(face_feature=faces, trait=traits, picture_feature=canonical.features)
    penalty, emphasis, predicted = choose(voice, faces, fold, settings)
    aim = Aim.of(faces, traits, predicted, settings.exaggeration, emphasis, settings.directions)
    made = linear_decoder.parts(canonical.pictures, canonical.landmarks, settings.components, settings.moves)
    parts, coefficients = made
    regressions = Regressions.fit(faces, coefficients, canonical.features, canonical.traits)
    start = linear_decoder.synthesis(regressions, faces, traits, aim, settings.closeness)
    reader = make_reader(parts, coefficients, canonical)
    synthesis, history = refined(start, aim, reader, predicted, traits, settings)
    regression = ridge.fit(voice, directions(faces), penalties=[penalty])
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
    # Numbers that vary by one each, a row a person, from which the matrix goes on to coefficients.
    _, spread, axes = np.linalg.svd(away @ aim.stretch, full_matrices=False)
    whiten = aim.stretch @ axes[: settings.directions].T / spread[: settings.directions] * np.sqrt(len(away))
    inputs = away @ whiten
    first = np.linalg.lstsq(inputs, (1 + aim.exaggeration) * away @ start.matrix, rcond=None)[0]

    rows, meant = _tensor(inputs), _tensor(away @ aim.stretch)
    scale = traits.std(axis=0)
    meant_traits, trait_scale = _tensor(traits.mean(axis=0) + away @ aim.leaning), _tensor(scale)
    anchors, variance = rows @ _tensor(first), meant.square().sum(dim=1).mean()
    anchor_variance = anchors.var(dim=0).mean()
    matrix, offset = _tensor(first).requires_grad_(), _tensor(start.offset).requires_grad_()
    optimiser = torch.optim.Adam([matrix, offset], settings.rate, betas=(0.9, 0.99))
    slowing = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, settings.steps)
    generator, order, history = torch.Generator().manual_seed(settings.seed), [], []
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
        of_anchor = (coefficients - anchors[batch]).square().mean() / anchor_variance
        loss = of_feature + settings.traits * of_traits + settings.anchor * of_anchor
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slowing.step()
        cosine = torch.nn.functional.cosine_similarity(read, meant[batch]).mean()
        history.append([float(value.detach()) for value in (cosine, of_feature, of_traits, of_anchor)])
    trained = whiten @ matrix.detach().double().numpy() / (1 + aim.exaggeration)
    learned = start._replace(matrix=trained, offset=offset.detach().double().numpy())
    return learned, pd.DataFrame(history, columns=["cosine", "feature", "traits", "anchor"])


def draw(
    voice: Blocks,
    faces: Features,
    traits: Traits,
    canonical: Canonical,
    fold: Fold,
    settings: Settings,
    kept: Path,
    workers: int,
    make_reader: MakeReader = DrawingReader,
) -> tuple[Images, Features, pd.DataFrame]:
    """Out-of-fold pictures from voices, what these are meant to read as, and how training went.

    Args:
        voice: features of the voices, an array for each kind.
        faces: features of the true faces.
        traits: of the true faces: apparent age (years) and skin tone (ITA, degrees).
        canonical: pictures of the same people, from which decoders learn to draw.
        fold: the fold of each person, of at least three.
        settings: how to learn.
        kept: folder in which finished folds are kept, so that an interrupted run goes on.
        workers: number of processes.
        make_reader: what reads drawings.

    Returns:
        The pictures; features less the mean face's; and the rows of `refined` with `fold` and `step`.
    """
    pairs = voice, faces, traits, canonical, fold
    known = hashlib.sha256(repr((settings, code.digest(_draw_fold))).encode())
    for values in (*voice, faces, traits, *canonical, fold):
        known.update(np.ascontiguousarray(values))
    jobs = {
        part: (kept / f"{known.hexdigest()[:24]}-{part}.npz", partial(_draw_fold, part, *pairs, settings, make_reader))
        for part in np.unique(fold).tolist()
    }
    blocks.keep(dict(jobs.values()), workers)
    images, meant, histories = np.empty_like(canonical.pictures), np.empty_like(faces), {}
    for part, (file, _) in jobs.items():
        made = blocks.load(file)
        images[fold == part], meant[fold == part] = made.pop("images"), made.pop("meant")
        histories[part] = pd.DataFrame(made)
    return images, meant, pd.concat(histories, names=["fold", "step"]).reset_index()


def _draw_fold(
    part: int,
    voice: Blocks,
    faces: Features,
    traits: Traits,
    canonical: Canonical,
    fold: Fold,
    settings: Settings,
    make_reader: MakeReader,
) -> blocks.Arrays:
    test = fold == part
    others = faces[~test], traits[~test], canonical.of(~test), fold[~test]
    learned = learn([block[~test] for block in voice], *others, settings, make_reader)
    rows = np.hstack(voice)[test]
    history = {name: column.to_numpy() for name, column in learned.history.items()}
    return {"images": learned.draw(rows), "meant": learned.meant(rows)} | history


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
