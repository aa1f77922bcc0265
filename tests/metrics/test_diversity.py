"""How alike faces are: known drawings, and neighbours."""

import numpy as np
import pytest

from s2f.metrics import bootstrap, diversity

QUICK = bootstrap.Resampling(seed=3, replicates=200)


def test_spread_of_a_known_drawing(rng):
    true = rng.normal(size=(3000, 4))
    drawn = 0.5 * true + 0.5 * rng.normal(size=true.shape) + 7
    spread = diversity.spread(true, drawn, np.arange(3000), QUICK)
    for name, expected in {"variance_ratio": 0.5, "slope": 0.5, "shared": 0.5}.items():
        assert spread[name].low < expected < spread[name].high, name
    assert spread["slope"].value == pytest.approx(0.5, abs=0.02)


def test_neighbours_are_other_people():
    features, people = np.array([[0.0], [0.1], [3.0], [3.5]]), np.array(["a", "a", "b", "c"])
    assert diversity.neighbours(features, people) == pytest.approx([3.0, 2.9, 0.5, 0.5])
    assert diversity.within(features, people) == pytest.approx([0.1])
