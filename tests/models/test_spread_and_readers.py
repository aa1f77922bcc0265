"""Faces drawn around a prediction spread as those of held-out people do; traits are read as surely as they can be."""

import numpy as np
import pytest

from s2f.models.readers import NORMAL_80, Readers
from s2f.models.spread import KEPT_VARIANCE, Spread
from s2f.study.paths import UserError


def test_samples_have_the_mean_and_covariance_of_the_residuals(rng):
    mixing = rng.normal(size=(6, 6)) * [3, 2, 1, 1, 0.5, 0.5]
    residuals = rng.normal(size=(400, 6)) @ mixing + 2
    spread = Spread.fit(residuals)
    feature, count = rng.normal(size=6).astype(np.float32), 40_000
    drawn = spread.draw(feature, count, seed=1) - feature
    covariance = np.cov(residuals.T)
    scale = np.sqrt(np.trace(covariance))
    # Means of n draws are off by their deviation over the root of n; five of these are never reached.
    assert np.abs(drawn.mean(axis=0) - residuals.mean(axis=0)).max() < 5 * scale / np.sqrt(count)
    # What the directions that are left out hold of the variance, and sampling: variances are off by sqrt(2 / n).
    assert np.linalg.norm(np.cov(drawn.T) - covariance, 2) < (1 - KEPT_VARIANCE + 5 * np.sqrt(2 / count)) * scale**2
    assert np.trace(np.cov(drawn.T)) > (KEPT_VARIANCE - 5 * np.sqrt(2 / count)) * scale**2


def test_what_was_saved_is_loaded(tmp_path, rng):
    spread = Spread.fit(rng.normal(size=(20, 4)))
    spread.save(tmp_path / "spread.safetensors")
    feature = np.zeros(4, np.float32)
    again = Spread.load(tmp_path / "spread.safetensors").draw(feature, 3, 0)
    np.testing.assert_array_equal(again, spread.draw(feature, 3, 0))
    with pytest.raises(UserError, match="no spread"):
        Spread.fit(np.zeros((2, 4)))
    for kind in (Spread, Readers):
        with pytest.raises(UserError, match="no file of arrays"):
            kind.load(tmp_path / "none")
        (tmp_path / "cut").write_bytes((tmp_path / "spread.safetensors").read_bytes()[:60])
        with pytest.raises(UserError, match="cut off"):
            kind.load(tmp_path / "cut")
    with pytest.raises(UserError, match="readers of traits"):
        Readers.load(tmp_path / "spread.safetensors")


def test_the_range_of_a_trait_holds_80_of_100_new_people(tmp_path, rng):
    def people(count):
        features = rng.normal(size=(count, 5))
        return features, 40 + 6 * features[:, 0] + rng.normal(0, 8, count)

    features, age = people(600)
    readers = Readers.fit(features, {"age": age}, np.arange(600))
    readers.save(tmp_path / "readers.safetensors")
    readers = Readers.load(tmp_path / "readers.safetensors")
    features, age = people(2000)
    value, low, high = np.transpose([readers.number("age", feature) for feature in features])
    # 80 % of 2,000 people give or take five standard errors, and the spread is known from 600 to 1 / sqrt(1200).
    assert np.mean((low < age) & (age < high)) == pytest.approx(0.8, abs=5 * np.sqrt(0.16 / 2000) + 0.03)
    np.testing.assert_allclose(value, 40 + 6 * features[:, 0], atol=6 * 8 * np.sqrt(6 / 600))
    np.testing.assert_allclose(high - value, NORMAL_80 * 8, rtol=0.15)
    assert readers.number("height", features[0]) is None and readers.probability("female", features[0]) is None


def test_a_probability_is_that_of_new_people(rng):
    features = rng.normal(size=(4000, 3))
    true = 1 / (1 + np.exp(-2 * features[:, 0]))
    female = rng.random(4000) < true
    features_known, unknown = features[:1500], np.arange(1500) % 50 == 0
    readers = Readers.fit(features_known, {"female": female[:1500]}, np.arange(1500))
    found = np.array([readers.probability("female", feature) for feature in features[1500:]])
    assert np.abs(found - true[1500:]).mean() < 0.05
    # An age that is not known does not count.
    age = np.where(unknown, np.nan, 3 * features_known[:, 1])
    value, *_ = Readers.fit(features_known, {"age": age}, np.arange(1500)).number("age", np.array([0.0, 1.0, 0.0]))
    assert value == pytest.approx(3, abs=0.01)


def test_traits_of_too_few_people_are_left_out(tmp_path, rng):
    features, people = rng.normal(size=(30, 4)), np.arange(30)
    few = np.where(people < 3, 40.0, np.nan)
    labels = {"female": people < 4, "male": people < 15}
    Readers.fit(features, {"age": few, "skin": features[:, 0], **labels}, people).save(tmp_path / "readers")
    assert set(Readers.load(tmp_path / "readers").linear) == {"skin", "male"}
    Readers.fit(features[:3], {"age": features[:3, 0]}, people[:3]).save(tmp_path / "none")
    assert Readers.load(tmp_path / "none").number("age", features[0]) is None
