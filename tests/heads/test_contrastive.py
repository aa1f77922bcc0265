"""Contrastive maps find what voices tell of faces, and nothing where there is nothing."""

import numpy as np
from out_of_fold import out_of_fold

from s2f.heads import contrastive, ridge
from s2f.metrics import paired


def test_contrastive_maps_find_what_a_voice_tells(rng):
    """Loud directions of the faces that no voice tells of: cosine is led astray, the maps learn to leave them out."""
    voice = rng.normal(size=(160, 6))
    faces = np.hstack([voice + 0.7 * rng.normal(size=voice.shape), 4 * rng.normal(size=(160, 6))])
    fold = ridge.folds(np.arange(160), 4, seed=0)

    def predict(faces):
        return contrastive.scores(ridge.nested([voice], faces, fold), faces, fold, 12, [0, 40])

    plain = ridge.scores(ridge.predict([voice], faces, fold), faces, fold)
    wins = paired.ranks(out_of_fold(predict, faces, fold)).wins.mean()
    assert wins > 0.9 and wins > paired.ranks(plain).wins.mean() + 0.05


def test_contrastive_maps_find_other_people(rng):
    mixing = rng.normal(size=(6, 8))
    voice, faces = (part := rng.normal(size=(200, 6))), part @ mixing + 0.5 * rng.normal(size=(200, 8))
    fold = ridge.folds(np.arange(150), 4, seed=0)
    learned, others = ([voice[:150]], faces[:150], fold), ([voice[150:]], faces[150:])
    assert paired.ranks(contrastive.scores_elsewhere(*learned, *others, 6, [0, 20])).wins.mean() > 0.9


def test_unrelated_pairs_are_at_chance(rng):
    """Among all faces as well, where a regression, drawn to those that it knows, does worse."""
    voice, faces, fold = rng.normal(size=(160, 6)), rng.normal(size=(160, 8)), ridge.folds(np.arange(160), 4, 0)
    wins = paired.ranks(contrastive.scores(ridge.nested([voice], faces, fold), faces, fold, 8, [0, 20])).wins
    assert abs(wins.mean() - 0.5) < 4 * (1 / 12 / 160) ** 0.5  # four standard errors of a mean of uniform numbers
