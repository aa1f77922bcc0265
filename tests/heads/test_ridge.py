"""Regressions from few pairs: planted maps are found, and nobody is predicted by what has learned from them."""

import numpy as np
import pytest

from s2f.heads import ridge
from s2f.metrics import bootstrap, paired
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=3, replicates=200)


def test_folds_keep_people_together_and_are_of_one_size():
    people = np.repeat([f"p{n:03}" for n in range(43)], 3)
    fold = ridge.folds(people, 5, seed=1)
    assert all(len(set(fold[people == person])) == 1 for person in people)
    assert set(np.bincount(fold) // 3) == {8, 9}
    with pytest.raises(UserError, match="too few for 30 folds"):
        ridge.folds(people, 30, seed=1)


def test_a_regression_learns_a_planted_map(rng):
    voice, noise = rng.normal(size=(200, 12)), rng.normal(size=(200, 30))
    target = voice @ rng.normal(size=(12, 5)) + 0.5 * rng.normal(size=(200, 5))
    fold = ridge.folds(np.arange(200), 5, seed=0)
    predicted = ridge.predict([voice, noise], target, fold)
    assert ridge.explained(target, predicted, np.arange(200), QUICK).low > 0.7
    wins = paired.ranks(ridge.scores(predicted, target, fold)).wins
    assert wins.mean() > 0.95
    kernel = ridge.predict([voice], target, fold, components=100)
    assert ridge.explained(target, kernel, np.arange(200), QUICK).value > 0.5


def test_unrelated_pairs_are_at_chance_among_faces_that_no_regression_has_learned(rng):
    """Predictions shrink towards the faces of training: with these in the gallery they do worse than chance."""
    fold, faces, voice = ridge.folds(np.arange(300), 5, seed=0), rng.normal(size=(300, 8)), np.eye(300)
    system = ridge.scores(ridge.predict([voice + rng.normal(size=voice.shape)], faces, fold), faces, fold)
    unseen = paired.matching({"it": system}, "it", QUICK, allowed=fold[:, None] == fold)
    assert unseen["low"].item() < 0.5 < unseen["high"].item()
    assert paired.ranks(system).wins.mean() < unseen["value"].item()


def test_missing_statistics_are_filled_in(rng):
    voice = rng.normal(size=(60, 4))
    voice[3] = np.nan
    predicted = ridge.predict([voice], rng.normal(size=(60, 2)), ridge.folds(np.arange(60), 3, 0))
    assert np.isfinite(predicted).all()


def test_likelihood_ratio_and_other_people(rng):
    mixing = rng.normal(size=(8, 6))
    voice, other = rng.normal(size=(150, 8)), rng.normal(size=(50, 8))
    faces, others = voice @ mixing + rng.normal(size=(150, 6)), other @ mixing + rng.normal(size=(50, 6))
    fold = ridge.folds(np.arange(150), 5, seed=0)
    nested = ridge.nested([voice], faces, fold)
    assert paired.ranks(ridge.likelihood_ratio_scores(nested, faces, fold, 6)).wins.mean() > 0.9
    assert paired.ranks(ridge.scores_elsewhere([voice], faces, [other], others)).wins.mean() > 0.9


def test_nested_predictions_have_not_learned_from_their_fold(rng):
    voice, faces = rng.normal(size=(60, 4)), rng.normal(size=(60, 3))
    fold = ridge.folds(np.arange(60), 3, seed=0)
    nested = ridge.nested([voice], faces, fold)
    inside = fold == 1
    changed = faces.copy()
    changed[inside] += 1 + rng.random((inside.sum(), 3))
    assert np.array_equal(ridge.nested([voice], changed, fold)[1], nested[1])
    assert np.array_equal(nested[1][inside], ridge.predict([voice], faces, fold)[inside])
