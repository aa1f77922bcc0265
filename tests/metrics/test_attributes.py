"""Attributes predicted from faces: against scikit-learn, beside the ideal observer, and with labels never learned."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from s2f.metrics import attributes, bootstrap
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def test_label_shares_count_people():
    found = attributes.label_shares(pd.DataFrame({"sex": ["F", "M", "F", "F"], "group": ["a"] * 4}))
    assert found["sex"] == {"F": {"value": 0.75, "n": 3}, "M": {"value": 0.25, "n": 1}}
    assert found["group"] == {"a": {"value": 1.0, "n": 4}}


def test_confusion_normalises_rows_and_keeps_empty_ones():
    found = attributes.confusion(np.array(["a", "a", "a", "b"]), np.array(["a", "b", "a", "b"]), ["a", "b", "c"])
    np.testing.assert_allclose(found.loc["a"], [2 / 3, 1 / 3, 0, 3])
    assert found.loc["c", "a":"c"].isna().all() and found.loc["c", "n"] == 0
    with pytest.raises(UserError, match="'b' is not one of"):
        attributes.confusion(np.array(["a"]), np.array(["b"]), ["a"])


def test_a_true_label_that_the_classifier_does_not_know_has_a_row_without_shares():
    found = attributes.confusion(np.array(["a", "b", "z", "z"]), np.array(["a", "a", "a", "b"]), ["a", "b"])
    assert list(found.index) == ["a", "b", "z"] and list(found.columns) == ["a", "b", "n"]
    assert found.loc["z", ["a", "b"]].isna().all() and found.loc["z", "n"] == 2


def test_agreement_equals_sklearn(rng):
    true = rng.choice(["x", "y", "z"], 200, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(200) < 0.6, true, "x")
    found = attributes.agreement(true, predicted, np.arange(200), QUICK)
    assert found.value["overall"] == pytest.approx((true == predicted).mean())
    assert found.value["balanced"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert found.chance["overall"] == pytest.approx((true == "x").mean())


def test_agreement_stands_beside_the_best_possible(rng):
    true = rng.choice(["a", "b"], 400)
    best = np.where(rng.random(400) < 0.1, "a", true)
    predicted = np.where(rng.random(400) < 0.3, "a", true)
    row = attributes.agreement(true, predicted, np.arange(400), QUICK, best).loc["overall"]
    assert row["ceiling"] == (best == true).mean()
    expected = ((predicted == true).mean() - row["chance"]) / (row["ceiling"] - row["chance"])
    assert row["share_of_ceiling"] == pytest.approx(expected)
    assert row["share_low"] < expected < row["share_high"]


def test_attribute_classifier_reads_labels_and_numbers(rng):
    features = rng.normal(size=(300, 5))
    sex, age = np.where(features[:, 0] > 0, "F", "M"), 40 + 10 * features[:, 1]
    assert attributes.attribute_classifier(features, sex).score(features, sex) > 0.95
    assert attributes.attribute_classifier(features, age).score(features, age) > 0.95


@pytest.fixture
def read(rng):
    """True labels, and those read off good drawings, off poor ones, and by a classifier that never met a G3."""
    sex = rng.choice(["F", "M"], 200)
    group = np.where(np.arange(200) < 195, "G1", "G3")
    group[:90] = "G2"
    true = pd.DataFrame({"sex": sex, "group": group})
    features = rng.normal(size=(200, 3)) + 5 * np.stack([sex == "M", group == "G2", group == "G3"], axis=1)
    learned = (rng.random(200) < 0.7) & (group != "G3")
    arms = {"good": features, "poor": rng.normal(size=(200, 3))}
    return true, attributes.read_attributes(features[learned], true[learned], arms)


def test_attributes_are_read_by_classifiers_that_know_the_labels_of_training(read):
    true, found = read
    assert list(found["good"]["group"].cat.categories) == ["G1", "G2"]
    scores, matrices = attributes.attributes(true, found["good"], np.arange(200), QUICK, best=true)
    poor, _ = attributes.attributes(true, found["poor"], np.arange(200), QUICK)
    assert scores.loc["sex", "value"] > 0.95 > 0.7 > poor.loc["sex", "value"]
    assert scores.loc["sex", "ceiling"] == 1 and "ceiling" not in poor
    assert matrices["group"]["n"].to_dict() == {"G1": 105, "G2": 90, "G3": 5}
    assert scores.loc["group", "value"] <= 195 / 200  # nobody can name the others, and they count as errors


def test_two_drawings_of_a_clip_are_compared_like_a_drawing_with_the_truth(read):
    _, found = read
    same, _ = attributes.attributes(found["good"], found["good"], np.arange(200), QUICK)
    _, matrices = attributes.attributes(found["good"], found["poor"], np.arange(200), QUICK)
    assert (same["value"] == 1).all()
    assert matrices["sex"]["n"].to_dict() == found["good"]["sex"].value_counts().sort_index().to_dict()


def test_results_of_attributes_hold_every_cell_and_null_what_was_never_learned(read):
    true, found = read
    arms = {arm: attributes.attributes(true, predicted, np.arange(200), QUICK) for arm, predicted in found.items()}
    results = attributes.attribute_results(arms)
    scores, matrices = arms["poor"]
    kept, cells = results["attributes"]["sex"]["poor"], results["confusions"]["poor"]["sex"]
    assert kept["F"] == {"value": matrices["sex"].loc["F", "F"], "n": (true["sex"] == "F").sum()}
    assert kept["overall"]["value"] == scores.loc["sex", "value"]
    assert cells["F"]["M"] == matrices["sex"].loc["F", "M"] and sum(cells["F"].values()) == pytest.approx(1)
    unseen = results["attributes"]["group"]["good"]["G3"]
    assert np.isnan(unseen["value"]) and unseen["n"] == 5
