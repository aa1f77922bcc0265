"""The same speakers again: which recordings are made, and how they differ."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s2f.study import config
from s2f.synthetic import people, retakes

WORLD = config.load(config.World, Path(__file__).parents[1] / "tiny" / "params.yaml")


@pytest.fixture
def rows():
    drawn = {"seed": 1, "strength": 1.0, "confound": 0.5}
    return people.sample(3, split="test", **drawn)


def test_everybody_speaks_every_language_so_many_times(rows):
    said = retakes.in_every_language(rows, 2)
    assert (said.groupby(["speaker_id", "language"]).size() == 2).all() and len(said) == 3 * 2 * len(people.LANGUAGES)
    assert all(said["language"].iloc[i] in people.HOME_LANGUAGES[said["home"].iloc[i]] for i in range(len(said)))


def test_recordings_differ_from_day_to_day_and_hang_on_the_seed(rows):
    twice = rows.iloc[[0, 0]].reset_index(drop=True)
    first, second = retakes.record(twice, 0.5, WORLD, 1)
    assert first.shape == (8_000,) and not np.array_equal(first, second)
    np.testing.assert_array_equal(retakes.record(twice, 0.5, WORLD, 1), [first, second])


def test_a_language_tells_the_group_as_often_as_in_training():
    crowd = people.sample(
        8_000, split="train", seed=3, strength=0.0, confound=WORLD.confound, shares=WORLD.group_shares
    )
    told = retakes.group_told(pd.Series(people.LANGUAGES), WORLD)
    counted = pd.crosstab(crowd["language"], crowd["group"], normalize="index").loc[list(people.LANGUAGES)]
    np.testing.assert_allclose(told.sum(axis=1), 1)
    np.testing.assert_allclose(told, counted[told.columns], atol=0.05)
