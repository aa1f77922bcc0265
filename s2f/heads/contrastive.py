"""Two linear maps into a small space in which a voice lies closest to its own face, learned from a few hundred pairs.

The maps take what a ridge regression predicts of a voice; from the voice itself they would have more numbers to learn
than there are pairs.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from threadpoolctl import threadpool_limits

from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Features, Fold
from s2f.models.losses import Matcher, contrastive
from s2f.study.numbers import finite

LEARNING_RATE = 0.01  # of Adam, all pairs at once
INNER_FOLDS = 3  # in which the number of steps is chosen; people who share a fold share an inner one


def scores(
    nested: Mapping[int, Features], faces: Features, fold: Fold, dims: int, steps: Sequence[int]
) -> Float[np.ndarray, "people people"]:
    """Score of each voice and each face by maps (`losses.Matcher`) that learned on the other folds.

    Args:
        nested: the predictions of `ridge.nested`.
        faces: features of the true faces.
        fold: the fold of each person, of at least three.
        dims: of the small space.
        steps: how long the maps may learn (rising); the best is chosen among their own training people.
    """
    table = np.empty((len(faces), len(faces)))
    for part, predicted in nested.items():
        test = fold == part
        matcher = _learn(predicted[~test], faces[~test], fold[~test], dims, steps)
        table[test] = matcher.score(*_single(predicted[test], faces))
    return table


def scores_elsewhere(
    voice: Blocks,
    faces: Features,
    fold: Fold,
    other_voice: Sequence[Float[np.ndarray, "others _"]],
    other_faces: Float[np.ndarray, "others dim"],
    dims: int,
    steps: Sequence[int],
) -> Float[np.ndarray, "others others"]:
    """Scores in another set of people, by maps and a regression that learned from everybody in this one."""
    predicted = ridge.fit(voice, faces).predict(np.hstack(other_voice))
    matcher = _learn(ridge.predict(voice, faces, fold), faces, fold, dims, steps)
    return matcher.score(*_single(predicted, other_faces))


def fit(voice: Blocks, faces: Features, fold: Fold, dims: int, steps: Sequence[int]) -> Matcher:
    """Maps that learned from everybody, on predictions of regressions that did not learn from the person.

    They score what a regression of the same voices predicts of others (`Matcher.score`, float32).
    """
    return _learn(ridge.predict(voice, faces, fold), faces, fold, dims, steps)


def _learn(predicted: Features, faces: Features, fold: Fold, dims: int, steps: Sequence[int]) -> Matcher:
    """Maps that learned from all these people, for the number of steps with the most 1:2 matches out of fold."""
    wins, inner = np.zeros(len(steps)), fold % INNER_FOLDS
    # One thread: sums of so few numbers gain nothing by more, and their order stays the same everywhere.
    with threadpool_limits(1):
        for test in ridge.held_out(inner):
            for place, matcher in enumerate(_matchers(predicted[~test], faces[~test], dims, steps)):
                scores = matcher.score(*_single(predicted[test], faces))
                own = scores[np.arange(test.sum()), np.flatnonzero(test)]
                wins[place] += (scores < own[:, None]).sum()
        *_, matcher = _matchers(predicted, faces, dims, [steps[wins.argmax()]])
    return matcher


def _matchers(predicted: Features, faces: Features, dims: int, steps: Sequence[int]) -> Iterator[Matcher]:
    """The maps after each of `steps` (rising) of training on all pairs at once."""
    v_s, v_f = map(torch.from_numpy, _single(predicted, faces))
    matcher, everybody = Matcher(v_f, dims), torch.arange(len(v_f))
    adam = torch.optim.Adam(matcher.parameters(), lr=LEARNING_RATE)
    for step in range(max(steps) + 1):
        if step > 0:
            adam.zero_grad()
            contrastive(matcher(v_s, v_f), everybody).backward()
            adam.step()
        if step in steps:
            yield matcher


def _single(*arrays: Float[np.ndarray, "_ _"]) -> tuple[Float32[np.ndarray, "_ _"], ...]:
    finite(**{f"feature_{place}": array for place, array in enumerate(arrays, 1)})
    return tuple(array.astype(np.float32) for array in arrays)
