"""The critic finds what pairs have in common, and equal seeds give equal critics."""

import numpy as np
import pytest

from s2f.heads import critic


@pytest.fixture
def pairs(rng):
    """Two recordings of each of 300 people and one face; products of their three common numbers stand in both."""
    common = rng.normal(size=(400, 3))
    products = common[:, [0, 1, 2]] * common[:, [1, 2, 0]]
    faces = products @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(400, 6))
    owners = np.arange(800) // 2
    voices = common[owners] @ rng.normal(size=(3, 5)) + 0.1 * rng.normal(size=(800, 5))
    known, val = owners < 300, (owners >= 300) & (owners < 350)
    learning = voices[known], faces[:300], owners[known], voices[val], faces[300:350], owners[val] - 300
    return learning, voices[~known & ~val], faces[350:], owners[~known & ~val] - 350


def matches(scores, owners):
    """Share of 1:2 matches that are won: a true face against each other one."""
    return (scores < scores[np.arange(len(scores)), owners][:, None]).sum() / (scores.size - len(scores))


def test_a_link_that_no_linear_map_shows_is_found(pairs):
    learning, voices, faces, owners = pairs
    learned = critic.learn(*learning, dims=8, steps=400, seed=0)
    scores = learned.score(voices, faces)
    assert scores.shape == (len(voices), len(faces))
    # Chance is .5, with a standard deviation of about .03 for fifty people; products of the numbers tell most of them.
    assert matches(scores, owners) > 0.75
    linear = np.linalg.lstsq(learning[0], learning[1][learning[2]], rcond=None)[0]
    assert matches(voices @ linear @ faces.T, owners) < 0.6


def test_equal_seeds_give_equal_critics(pairs):
    learning, voices, faces, _ = pairs
    one, again = (critic.learn(*learning, dims=8, steps=50, seed=1).score(voices, faces) for _ in range(2))
    assert np.array_equal(one, again)


def test_a_number_that_is_not_finite_is_named(pairs):
    learning = list(pairs[0])
    learning[1] = learning[1].copy()
    learning[1][3, 2] = np.nan
    with pytest.raises(ValueError, match="face"):
        critic.learn(*learning, dims=8, steps=50, seed=0)
