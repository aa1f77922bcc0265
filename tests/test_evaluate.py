"""The paper's tables against their definitions, planted effects found, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score

from s2f.metrics import attributes, bootstrap, craniofacial, similarity
from s2f.metrics.ceiling import beside_ceiling, share_of_ceiling
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def clips_of(n_speakers, clips, rng, dim=6, noise=0.5):
    """Features that are a speaker's own plus the noise of each clip."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    own = rng.normal(size=(n_speakers, dim))
    return own[speakers] + noise * rng.normal(size=(len(speakers), dim)), own[speakers], speakers


def test_feature_similarity_has_the_known_values():
    pred, true = np.array([[3.0, 0], [0, 2.0]]), np.array([[0, 4.0], [0, 1.0]])
    found = similarity.feature_similarity(pred, true)
    assert list(found.index) == ["angle_deg", "l2", "l1", "scale"]
    np.testing.assert_allclose(found, [[45, 45], [3, 2], [4, 3], [2.5, 1.5]], atol=1e-12)


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
    painted = np.where(rng.random(200) < 0.6, true, "x")
    found = attributes.agreement(true, painted, np.arange(200), QUICK)
    assert found.value["overall"] == pytest.approx((true == painted).mean())
    assert found.value["balanced"] == pytest.approx(balanced_accuracy_score(true, painted))
    assert found.chance["overall"] == pytest.approx((true == "x").mean())


def test_attribute_classifier_reads_labels_and_numbers(rng):
    features = rng.normal(size=(300, 5))
    sex, age = np.where(features[:, 0] > 0, "F", "M"), 40 + 10 * features[:, 1]
    assert attributes.attribute_classifier(features, sex).score(features, sex) > 0.95
    assert attributes.attribute_classifier(features, age).score(features, age) > 0.95


def test_craniofacial_finds_a_planted_correlation_and_no_other(rng):
    drawn, true, speakers = clips_of(80, 3, rng, dim=2, noise=1.0)
    drawn[:, 1] = rng.permutation(drawn[:, 1])
    found = craniofacial.craniofacial(true, drawn, ["planted", "nothing"], speakers, QUICK, permutations=199)
    planted, nothing = found.iloc[0], found.iloc[1]
    assert planted.r == pytest.approx(pearsonr(true[:, 0], drawn[:, 0]).statistic, abs=1e-12)
    assert planted.low < np.sqrt(0.5) < planted.high and planted.p == planted.p_adjusted == 1 / 200
    assert nothing.p > 0.01 and planted["random"] < planted.random_p95 < 0.5


def test_a_difference_between_the_sexes_vanishes_within_them(rng):
    sex = np.repeat(["F", "M"], 60)
    shift = 3.0 * (sex == "M")[:, None]
    true, drawn = (shift + rng.normal(size=(120, 1)) for _ in range(2))
    found = craniofacial.craniofacial(true, drawn, ["jaw"], np.arange(120), QUICK, strata=sex, permutations=199)
    everybody, within = found.iloc[0], found.iloc[1]
    assert everybody.r > 0.5 and everybody.p < 0.01
    assert within.low < 0 < within.high and within.p > 0.01


def test_p_values_of_unrelated_speakers_are_not_too_small():
    small = 0
    for seed in range(200):
        local = np.random.default_rng(seed)
        true, drawn = (np.repeat(local.normal(size=(30, 1)), 4, axis=0) for _ in range(2))
        quick = bootstrap.Resampling(seed=seed, replicates=10)
        found = craniofacial.craniofacial(true, drawn, ["x"], np.repeat(np.arange(30), 4), quick, permutations=99)
        small += found.p[0] <= 0.05
    # 200 tests at .05: mean 10, standard deviation 3.08; 3.5 of them above. By clip it would be 66, because
    # r has four times the variance that 120 independent clips would give it.
    assert small <= 10 + 3.5 * 3.08


def test_duration_curve_pairs_the_durations(rng):
    speakers = np.repeat(np.arange(40), 2)
    base = 10 * rng.normal(size=80)
    found = similarity.duration_curve({6.0: base, 3.0: base + 1}, speakers, QUICK)
    assert list(found.seconds) == [3, 6]
    np.testing.assert_allclose(found.loc[0, ["versus_longest", "versus_low", "versus_high"]].astype(float), 1)
    assert found.high[0] - found.low[0] > 1


def test_share_of_ceiling_scales_the_interval_and_pairs_with_an_estimated_ceiling(rng):
    speakers = np.arange(50)
    hits = rng.random(50)
    value = bootstrap.interval(hits, speakers, QUICK)
    share = share_of_ceiling(value, 0.25, 0.75, QUICK)
    np.testing.assert_allclose([share.low, share.high], [(value.low - 0.25) * 2, (value.high - 0.25) * 2])
    ceiling = bootstrap.interval(2 * hits, speakers, QUICK)
    share = share_of_ceiling(value, 0.0, ceiling, QUICK)
    np.testing.assert_allclose([share.value, share.low, share.high], 0.5)


def test_agreement_stands_beside_the_best_possible(rng):
    true = rng.choice(["a", "b"], 400)
    best = np.where(rng.random(400) < 0.1, "a", true)
    painted = np.where(rng.random(400) < 0.3, "a", true)
    row = attributes.agreement(true, painted, np.arange(400), QUICK, best).loc["overall"]
    assert row["ceiling"] == (best == true).mean()
    expected = ((painted == true).mean() - row["chance"]) / (row["ceiling"] - row["chance"])
    assert row["share_of_ceiling"] == pytest.approx(expected)
    assert row["share_low"] < expected < row["share_high"]


def test_craniofacial_stands_beside_the_best_possible(rng):
    cause = rng.normal(size=(300, 1))
    true, drawn = cause + rng.normal(size=(300, 1)), cause + 0.5 * rng.normal(size=(300, 1))
    found = craniofacial.craniofacial(true, drawn, ["jaw"], np.arange(300), QUICK, permutations=20, best=cause).iloc[0]
    assert found["ceiling"] == pytest.approx(pearsonr(true[:, 0], cause[:, 0])[0])
    assert found["share_of_ceiling"] == pytest.approx(found["r"] / found["ceiling"])


def test_what_is_beside_the_ceiling_is_paired_with_it(rng):
    hits = (rng.random(200) < 0.4).astype(float)
    best = np.maximum(hits, rng.random(200) < 0.5)
    row = beside_ceiling(hits, best, 0.1, np.arange(200), QUICK)
    share = (hits.mean() - 0.1) / (best.mean() - 0.1)
    assert (row["chance"], row["value"], row["ceiling"]) == (0.1, hits.mean(), best.mean())
    assert row["share_of_ceiling"] == pytest.approx(share) and row["share_low"] < share < row["share_high"]


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
    arms = {arm: attributes.attributes(true, painted, np.arange(200), QUICK) for arm, painted in found.items()}
    results = attributes.attribute_results(arms)
    scores, matrices = arms["poor"]
    kept, cells = results["attributes"]["sex"]["poor"], results["confusions"]["poor"]["sex"]
    assert kept["F"] == {"value": matrices["sex"].loc["F", "F"], "n": (true["sex"] == "F").sum()}
    assert kept["overall"]["value"] == scores.loc["sex", "value"]
    assert cells["F"]["M"] == matrices["sex"].loc["F", "M"] and sum(cells["F"].values()) == pytest.approx(1)
    unseen = results["attributes"]["group"]["good"]["G3"]
    assert np.isnan(unseen["value"]) and unseen["n"] == 5
