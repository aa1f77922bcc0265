"""Read traits are those of the people where features hold them, and the mean of all where they hold nothing."""

import numpy as np
import pytest

from s2f.synthetic import ideal_observer, people, readings


@pytest.fixture(scope="module")
def world():
    links = {"strength": 2.5, "confound": 0.8}
    shares = {"G1": 0.4, "G2": 0.3, "G3": 0.2, "G4": 0.1}
    return people.sample(900, split="test", seed=4, shares=shares, **links), links


def one_hot(labels):
    return np.column_stack([labels == name for name in np.unique(labels)]).astype(float)


def test_voices_are_read(world, rng):
    traits, links = world
    values = np.column_stack([np.log2(traits["f0_hz"]), traits["vtl_cm"], traits["vocal_age"]])
    numbers = np.hstack([values / values.std(axis=0), 3 * one_hot(traits["language"])])
    features = numbers @ rng.normal(size=(numbers.shape[1], 12))
    read = readings.voices(features[:600], traits[:600], features[600:])
    true = traits[600:].reset_index(drop=True)
    np.testing.assert_allclose(read["f0_hz"], true["f0_hz"], rtol=0.01)
    np.testing.assert_allclose(read["vtl_cm"], true["vtl_cm"], rtol=0.01)
    assert (read["language"] == true["language"]).mean() > 0.95
    # The ideal observer takes them in place of the true ones.
    exact, plugged = (ideal_observer.log_likelihood(voices, true, **links) for voices in (true, read))
    assert np.corrcoef(exact.ravel(), plugged.ravel())[0, 1] > 0.95


def test_faces_are_read(world, rng):
    traits, _ = world
    values = traits[list(readings.FACE)].to_numpy(float)
    features = np.hstack([values / values.std(axis=0), 3 * one_hot(traits["sex"]), 3 * one_hot(traits["group"])])
    read = readings.faces(features[:600], traits[:600], features[600:], seed=0)
    true = traits[600:]
    found = [np.corrcoef(read[name], true[name])[0, 1] for name in readings.FACE]
    assert min(found) > 0.8
    assert (read["sex"].to_numpy() == true["sex"].to_numpy()).mean() > 0.99
    assert (read["group"].to_numpy() == true["group"].to_numpy()).mean() > 0.95


def test_nothing_is_read_off_noise(world, rng):
    traits, _ = world
    read = readings.voices(rng.normal(size=(600, 5)), traits[:600], rng.normal(size=(300, 5)))
    assert read["vocal_age"].std() < 0.2 * traits["vocal_age"].std()
