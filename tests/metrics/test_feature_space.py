"""Exaggeration, failures and maps: planted effects are found, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_samples

from s2f.data.corpus import HeldOut
from s2f.metrics import feature_space
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.gallery import Gallery
from s2f.study.paths import UserError

QUICK = Resampling(seed=4, replicates=300)


def covers(row, value):
    return row["low"] <= value <= row["high"]


# Exaggeration


def test_exaggeration_moves_away_from_the_mean(rng):
    features, mean = rng.normal(size=(5, 3)), rng.normal(size=3)
    np.testing.assert_array_equal(feature_space.exaggerated(features, mean, 0.0), features)
    moved = feature_space.exaggerated(features, mean, 0.7)
    np.testing.assert_allclose(moved - mean, 1.7 * (features - mean))
    assert feature_space.exaggerated(features.astype(np.float32), mean.astype(np.float32), 0.7).dtype == np.float32


def test_pixel_sd_equals_that_over_all_faces(rng):
    faces, speakers = rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8), np.arange(60) // 2
    found = feature_space.pixel_sd(faces, speakers, QUICK)
    assert found.value == pytest.approx(np.sqrt(faces.astype(float).var(axis=0).mean()))
    # A replicate is the same number over the faces of the speakers drawn.
    picks = np.random.default_rng(QUICK.seed).integers(0, 30, (QUICK.replicates, 30))[0]
    drawn = np.concatenate([faces[speakers == pick] for pick in picks])
    assert found.resampled[0] == pytest.approx(np.sqrt(drawn.astype(float).var(axis=0).mean()))
    assert feature_space.pixel_sd(np.zeros_like(faces), speakers, QUICK).value == 0


def test_mean_correlation_is_the_mean_over_measures_and_a_constant_counts_as_zero(rng):
    true = rng.normal(size=(100, 3))
    drawn = np.column_stack([true[:, 0], true[:, 1] + rng.normal(size=100), np.full(100, 7.0)])
    plain = (1 + np.corrcoef(true[:, 1], drawn[:, 1])[0, 1] + 0) / 3
    found = feature_space.mean_correlation(true, drawn, np.arange(100), QUICK)
    assert found.value == pytest.approx(plain) and found.low < plain < found.high


def test_overconfidence_is_found_and_a_calibrated_reader_has_none(rng):
    certainty = rng.uniform(0.5, 1, 2000)
    true = np.where(rng.random(2000) < certainty, "F", "M")
    read, speakers = np.full(2000, "F"), np.arange(2000)
    calibrated = feature_space.confidence(true, read, certainty, speakers, QUICK)
    assert covers(calibrated["overconfidence"].row(), 0)
    boasting = feature_space.confidence(true, read, np.minimum(certainty + 0.2, 1), speakers, QUICK)
    assert boasting["overconfidence"].low > 0.1
    assert calibrated["accuracy"] == boasting["accuracy"]


def test_readings_and_appearance_of_faces_that_are_true_or_shuffled(rng):
    n = 200
    labels = pd.DataFrame({"sex": np.where(np.arange(n) % 2, "F", "M"), "age": np.linspace(20, 80, n)})
    features = np.column_stack([np.arange(n) % 2, labels["age"] / 20, rng.normal(size=n)]) + 0.1 * rng.normal(
        size=(n, 3)
    )
    other = rng.permutation(n)
    read = feature_space.readings(features, labels, {"true_face": features, "from_face": features[other]})
    assert list(read["true_face"]) == ["sex", "age", "sex_certainty"]
    assert (read["true_face"]["sex"] == labels["sex"]).all()
    assert np.abs(read["true_face"]["age"] - labels["age"]).mean() < 5
    images = {arm: rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for arm in read}
    marks = rng.normal(size=(n, 68, 2)).astype(np.float32)
    landmarks = {"true_face": marks, "from_face": marks[other]}
    table = feature_space.appearance(images, landmarks, read, labels[["sex"]], np.arange(n), QUICK)
    assert table.loc[("true_face", "craniofacial_r"), "value"] == pytest.approx(1)
    assert covers(table.loc[("from_face", "craniofacial_r")], 0)
    assert table.loc[("from_face", "pixel_sd_ratio"), "value"] == 1
    assert covers(table.loc[("from_face", "sex_accuracy")], 0.5)
    assert table.loc[("from_face", "sex_overconfidence"), "low"] > 0.2
    assert table.loc[("true_face", "sex_accuracy"), "value"] == 1


def test_similarity_of_arms_is_compared_on_the_same_clips(rng):
    faces, names = rng.normal(size=(40, 6)).astype(np.float32), np.array([f"p{i:02d}" for i in range(40)])
    clips = pd.DataFrame({"speaker_id": names, "split": "test"})
    held = HeldOut(clips, np.ones(40, bool), names, clips, clips.set_index("speaker_id"))
    gallery = Gallery.of(held, pd.DataFrame(faces, names))
    moved = {"plain": faces, "noise": rng.normal(size=faces.shape).astype(np.float32)}
    table = feature_space.similarity(moved, faces, gallery, 20, names, QUICK)
    plain, noise = (table.loc[arm] for arm in moved)
    assert plain.loc["angle_deg", "value"] == pytest.approx(0, abs=1e-3)
    assert (plain["difference"] == 0).all() and plain.loc["recall_at_10", "value"] == 1
    assert covers(noise.loc["recall_at_10"], 0.5) and covers(noise.loc["matching_1_of_2"], 0.5)
    assert noise.loc["matching_1_of_2", "difference_high"] < 0


# Failures


def people():
    true = pd.DataFrame(
        {"sex": ["F", "M", "F", "M"], "group": ["G1", "G2", "G1", "G2"], "age": [30.0, 70.0, 25.0, 40.0]}
    )
    read = pd.DataFrame(
        {
            "sex": ["M", "M", "M", "M"],
            "group": ["G1", "G1", "G1", "G2"],
            "age": [31.0, 45.0, 50.0, 59.0],
            "sex_certainty": [0.6, 0.9, 0.8, 0.7],
            "group_certainty": [0.9, 0.7, 0.5, 0.5],
        }
    )
    return true, read


def test_severity_names_who_fails_in_which_way_and_how_badly():
    true, read = people()
    found = feature_space.severity(true, read, years=20.0)
    expected = {
        "sex": [0.6, np.nan, 0.8, np.nan],
        "group": [np.nan, 0.7, np.nan, np.nan],
        "too_young": [np.nan, 25, np.nan, np.nan],
        "too_old": [np.nan, np.nan, 25, np.nan],
    }
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected), check_dtype=False)


def test_rates_count_failures_of_each_kind_and_arm():
    true, read = people()
    severe = feature_space.severity(true, read, years=20.0)
    table = feature_space.rates({"from_voice": severe, "true_face": severe * np.nan}, np.arange(4), QUICK)
    assert table.loc[("sex", "from_voice"), "value"] == 0.5
    nobody = table.loc[("too_old", "true_face")]
    assert nobody["value"] == 0 and nobody["high"] > 0  # four speakers do not prove that nobody fails


def test_the_worst_are_of_different_speakers_and_only_failures():
    severe, speakers = pd.Series([0.9, 0.95, np.nan, 0.7, 0.8]), np.array(["a", "a", "b", "c", "d"])
    assert feature_space.worst(severe, speakers, 2).tolist() == [1, 4]
    assert feature_space.worst(severe, speakers, 9).tolist() == [1, 4, 3]


def test_towards_the_other_sex_is_up_for_the_low_and_down_for_the_high():
    values, sex = np.array([100.0, 120.0, 200.0, 240.0]), np.array(["M", "M", "F", "F"])
    np.testing.assert_allclose(feature_space.towards_other_sex(values, sex), [-10, 10, 20, -20])
    with pytest.raises(UserError, match="two sexes"):
        feature_space.towards_other_sex(values[:2], sex[:2])


def test_a_planted_common_trait_is_found_and_a_chance_one_is_not(rng):
    speakers = np.repeat(np.arange(300), 2)
    failed = rng.random(600) < 0.2
    traits = pd.DataFrame({"high_pitch": rng.normal(size=600) + 3 * failed, "luck": rng.normal(size=600)})
    severe = pd.DataFrame({"sex": np.where(failed, 0.9, np.nan), "nobody": np.nan})
    table = feature_space.in_common(severe, traits, speakers, QUICK)
    assert covers(table.loc[("sex", "high_pitch")], 3) and table.loc[("sex", "high_pitch"), "low"] > 2
    assert abs(table.loc[("sex", "luck"), "value"]) < 0.5
    assert table.loc["nobody", "value"].isna().all()


def clusters(rng, n=60, dim=8, apart=3.0):
    labels = np.arange(n) % 3
    return rng.normal(size=(n, dim)) + apart * np.eye(dim)[labels], labels


@pytest.mark.parametrize("method", feature_space.METHODS)
def test_a_map_keeps_neighbours_and_is_the_same_bytes_again(method, rng):
    features, labels = clusters(rng, apart=8.0)
    points, trust = feature_space.project(features, method, seed=1, perplexity=10.0, neighbours=5)
    again = feature_space.project(features, method, seed=1, perplexity=10.0, neighbours=5)
    assert points.tobytes() == again.points.tobytes()
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    assert (labels[apart.argmin(axis=1)] == labels).all()
    assert 0.85 < trust <= 1


def test_bad_projections_are_named():
    with pytest.raises(UserError, match="'Isomap' is not known: use one of PCA, t-SNE, UMAP"):
        feature_space.project(np.eye(20), "Isomap", 1, 5.0, 5)
    with pytest.raises(UserError, match="10 features are too few for perplexity 30 and 5 neighbours"):
        feature_space.project(np.eye(10), "PCA", 1, 30.0, 5)


def test_silhouettes_are_those_of_scikit_learn(rng):
    features, labels = clusters(rng)
    labels[7] = 3  # alone
    apart = np.linalg.norm(features[:, None] - features, axis=2)
    plain = silhouette_samples(apart, labels, metric="precomputed")
    np.testing.assert_allclose(feature_space.silhouettes(apart, labels), plain, atol=1e-12)
    assert not feature_space.silhouettes(np.zeros_like(apart), labels).any()


def test_separation_finds_clusters_and_leaves_shuffled_labels_at_chance(rng):
    features, labels = clusters(rng, n=90)
    shuffled = {f"shuffled {i}": rng.permutation(labels) for i in range(20)}
    found = feature_space.separation({"true": features}, pd.DataFrame({"cluster": labels} | shuffled), 99, QUICK)
    cluster, luck = found.iloc[0], found.iloc[1:]
    assert cluster["low"] > cluster["chance_p95"] and cluster["p"] == 0.01
    assert (luck["p"] <= 0.05).sum() <= 3
    assert luck["value"].mean() == pytest.approx(cluster["chance"], abs=0.01)
    with pytest.raises(UserError, match="All speakers have cluster 0"):
        feature_space.separation({"true": features}, pd.DataFrame({"cluster": 0 * labels}), 99, QUICK)
