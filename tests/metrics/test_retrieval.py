"""Ranks, recall, matching and verification against plain references, known worlds and exact chance."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from s2f.data.corpus import HeldOut
from s2f.metrics import matching, retrieval, similarity, verification
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.gallery import Gallery
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError

QUICK = Resampling(seed=5, replicates=200)
METRICS = ("cosine", "l1", "l2")


def world(rng, n_speakers=60, clips=2, strength=0.5, dim=8):
    """Faces, predictions that share part of them, and speakers in unequal numbers of clips."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    true = np.repeat(rng.normal(size=(n_speakers, dim)), clips, axis=0)
    pred = strength * true + np.sqrt(1 - strength**2) * rng.normal(size=true.shape)
    return pred, true, speakers


def distance(a, b, metric):
    if metric == "cosine":
        return -a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return np.abs(a - b).sum() if metric == "l1" else np.square(a - b).sum()


@pytest.mark.parametrize("metric", METRICS)
def test_ranks_equal_a_plain_loop_whatever_the_chunk(metric, rng):
    queries, gallery = rng.normal(size=(30, 5)), rng.normal(size=(40, 5))
    gallery[20:30] = gallery[:10]  # ties
    truth = rng.integers(0, 40, 30)
    for chunk in (7, 256):
        ranks = retrieval.ranks(queries, gallery, truth, metric, chunk)
        for i, query in enumerate(queries):
            away = np.array([distance(query, face, metric) for face in gallery])
            tied = np.abs(away - away[truth[i]]) < 1e-9
            assert ranks.better[i] == (~tied & (away < away[truth[i]])).sum()
            assert ranks.expected[i] == ranks.better[i] + (tied.sum() + 1) / 2


def test_a_table_of_scores_gives_the_ranks_and_the_matching_of_its_metric(rng):
    """A clip's true face is the column of its speaker, in any order of the clips."""
    scores, speakers = rng.normal(size=(40, 40)).round(1), rng.permutation(np.repeat(np.arange(40), 3))
    people = np.arange(40.0)[:, None]

    def look_up(queries, gallery):
        return scores[np.ix_(queries[:, 0].astype(int), gallery[:, 0].astype(int))]

    table, strata = scores[speakers], pd.DataFrame({"sex": speakers % 2})
    ours = retrieval.ranks_from_scores(table, speakers)
    for part, reference in zip(ours, retrieval.ranks(people[speakers], people, speakers, look_up), strict=True):
        np.testing.assert_array_equal(part, reference)
    for n in (2, 5):
        ours = matching.matching_from_scores(table, speakers, speakers, QUICK, n, strata)
        reference = matching.matching(people[speakers], people[speakers], speakers, QUICK, n, look_up, strata)
        pd.testing.assert_frame_equal(ours, reference)


def test_recall_equals_brute_force_over_every_gallery(rng):
    queries, gallery = rng.normal(size=(1, 3)), rng.normal(size=(8, 3))
    gallery[4] = gallery[0]
    ranks = retrieval.ranks(queries, gallery, np.array([0]))
    away = np.array([distance(queries[0], face, "cosine") for face in gallery]).round(9)
    for size, items in ((4, 1), (4, 2), (8, 3)):
        galleries = [away[[0, *others]] for others in combinations(range(1, 8), size - 1)]
        brute = [
            np.clip((items - (g < g[0]).sum()) / (g == g[0]).sum(), 0, 1) for g in galleries
        ]  # the true face takes each of its tied places with the same probability
        assert retrieval.recall_at(ranks, items, size)[0] == pytest.approx(np.mean(brute), abs=1e-12)


def test_matching_credit_equals_brute_force(rng):
    score = np.array([3, 3, 1, 1, 2, 5, 0, 3])  # the first is the true face: two ties, one better, four worse
    board = matching.Board(*(part[None] for part in (score[1:] < 3, score[1:] == 3, score[1:] > -1)))
    for n in (2, 3, 5):
        trials = [score[[0, *others]] for others in combinations(range(1, 8), n - 1)]
        brute = np.mean([(t.max() == 3) / (t == 3).sum() for t in trials])
        assert matching.matching_credit(board, n)[0] == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_an_embedding_that_knows_nothing_scores_chance_exactly(metric, rng):
    pred, true, speakers = world(rng, clips=3)
    nowhere = np.full_like(true, 0.3)
    for shown in (nowhere, true):  # every pair ties, or every voice orders the faces in the same way
        ranks = retrieval.ranks(nowhere, shown[::3], speakers, metric)
        for size in (None, 20):
            found = retrieval.recall(ranks, speakers, [1, 5, 10], QUICK, size)
            np.testing.assert_allclose(found.value, found.chance, atol=1e-12)
        pairs = matching.matching(nowhere, shown, speakers, QUICK, metric=metric)
        np.testing.assert_allclose(pairs.value, 0.5, atol=1e-12)
    many = matching.matching(pred, nowhere, speakers, QUICK, n=7, metric=metric)
    np.testing.assert_allclose(many.value, 1 / 7, atol=1e-12)
    table = verification.trials(pred, nowhere * 0, speakers, seed=0)
    for estimate in verification.verification(table, QUICK).values():
        assert estimate.value == pytest.approx(0.5, abs=1e-12)


def test_a_perfect_prediction_is_always_first(rng):
    _, true, speakers = world(rng, clips=2)
    ranks = retrieval.ranks(true, true[::2], speakers)
    assert (retrieval.recall(ranks, speakers, [1], QUICK, size=50).loc["items", "value"] == 1).all()
    assert (ranks.wins == 1).all()
    assert (matching.matching(true, true, speakers, QUICK, n=10)["value"] == 1).all()
    verified = verification.verification(verification.trials(true, true, speakers, seed=0), QUICK)
    assert (verified["auc"].value, verified["eer"].value) == pytest.approx((1, 0), abs=1e-12)


def test_shuffled_pairs_score_chance(rng):
    pred, true, speakers = world(rng, n_speakers=150, clips=1)
    found = matching.matching(pred[rng.permutation(150)], true, speakers, QUICK)
    # A mean of 150 x 149 crossed trials has a standard deviation of about sqrt(1/12/150) = .024.
    assert abs(found["value"][0] - 0.5) < 4 * 0.024


def test_matching_of_pairs_equals_the_mean_over_trials(rng):
    pred, true, speakers = world(rng, n_speakers=35, clips=2)
    away = np.array([[distance(p, t, "cosine") for t in true] for p in pred])
    trials = [away[i, i] < away[i, j] for i in range(70) for j in range(70) if speakers[i] != speakers[j]]
    assert matching.matching(pred, true, speakers, QUICK)["value"][0] == pytest.approx(np.mean(trials))
    assert retrieval.ranks(pred, true[::2], speakers).wins.mean() == pytest.approx(np.mean(trials))


def test_intervals_of_matching_cover_the_truth():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        pred, true, speakers = world(rng, n_speakers=50, clips=1, strength=0.0)
        row = matching.matching(pred, true, speakers, Resampling(seed=seed, replicates=300)).iloc[0]
        covered += row.low <= 0.5 <= row.high
    # Crossed resampling errs on the wide side; 3.5 standard deviations of 200 trials below .93.
    assert covered / 200 >= 0.93 - 3.5 * 0.018


def test_an_attribute_oracle_reproduces_the_voxceleb_ceiling():
    sex = np.repeat(["m", "f"], [690, 561])  # the 1,251 speakers of VoxCeleb1
    known = (sex[:, None] == np.array(["m", "f"])).astype(float)
    few = Resampling(seed=0, replicates=20)
    pairs = matching.matching(known, known, np.arange(1251), few, strata=pd.DataFrame({"sex": sex}))
    np.testing.assert_allclose(pairs["value"], [0.748, 0.5], atol=0.0005)  # three published digits
    ten = matching.matching(known, known, np.arange(1251), few, n=10)
    # K of the nine others tie: mean of 1 / (1 + K) for a binomial K; no repetition moves it by 2e-4.
    share = np.array([689 / 1250, 560 / 1250])
    binomial = (1 - (1 - share) ** 10) / (10 * share) @ np.array([690, 561]) / 1251
    assert ten["value"][0] == pytest.approx(binomial, abs=0.0005)


def test_strata_keep_missing_labels_and_lonely_people_out(rng):
    pred, true, speakers = world(rng, n_speakers=40, clips=1)
    strata = pd.DataFrame({"sex": ["F", "M"] * 20, "group": ["a"] * 30 + ["b"] * 8 + ["c", None]})
    found = matching.matching(pred, true, speakers, QUICK, strata=strata).set_index("others")
    assert list(found.index) == ["anybody", "same sex", "same group", "same sex and group"]
    assert list(found.n_clips) == [40, 40, 38, 38]


def test_both_readings_of_recall(rng):
    pred, true, speakers = world(rng, n_speakers=200, clips=1)
    ranks = retrieval.ranks(pred, true, np.arange(200))
    found = retrieval.recall(ranks, speakers, [1, 5], QUICK)
    assert list(found.index) == [("items", 1), ("items", 5), ("percent", 1), ("percent", 5)]
    assert list(found["items"]) == [1, 5, 2, 10]
    assert list(found["chance"]) == [0.005, 0.025, 0.01, 0.05]
    np.testing.assert_allclose(found["value"], [(ranks.better < items).mean() for items in (1, 5, 2, 10)])


def test_the_nearest_are_the_first_in_order(rng):
    queries, gallery = rng.normal(size=(5, 4)), rng.normal(size=(30, 4))
    found = retrieval.nearest(queries, gallery, "cosine", 3)
    for query, rows in zip(queries, found, strict=True):
        away = [distance(query, face, "cosine") for face in gallery]
        assert list(rows) == list(np.argsort(away)[:3])


def test_examples_stand_at_quantiles_of_the_rank():
    better = np.array([40, 0, 10, 30, 20])
    ranks = retrieval.Ranks(better, np.zeros(5, int), 99)
    assert list(retrieval.at_quantiles(ranks, [0.0, 0.5, 1.0])) == [1, 4, 0]


def test_a_gallery_holds_the_template_of_each_test_speaker_and_its_score_is_fitted_on_validation(rng):
    clips = pd.DataFrame({"speaker_id": ["v1", "v1", "v2", "t2", "t1", "t2"]})
    test = np.array([False, False, False, True, True, True])
    held = HeldOut(clips, test, clips.loc[test, "speaker_id"].to_numpy(), clips[test], clips)
    templates = pd.DataFrame(rng.normal(size=(5, 3)).astype(np.float32), ["t2", "v1", "t1", "other", "v2"])
    found = Gallery.of(held, templates)
    assert list(found.names) == ["t1", "t2"] and list(found.own) == [1, 0, 1]
    np.testing.assert_array_equal(found.faces, templates.loc[["t1", "t2"]])
    np.testing.assert_array_equal(found.validation, templates.loc[["v1", "v1", "v2"]])
    predicted = rng.normal(size=(6, 2))
    score = found.likelihood_ratio(predicted, dims=2)
    np.testing.assert_allclose(score.pred_mean, predicted[:3].mean(axis=0))
    with pytest.raises(UserError, match="no photograph of speaker v2"):
        Gallery.of(held, templates.drop(index="v2"))


def test_verification_equals_sklearn_and_a_symmetric_error(rng):
    pred, true, speakers = world(rng, n_speakers=80, clips=2)
    table = verification.trials(pred, true, speakers, seed=1)
    assert len(table) == 160 * 2 and (table.same == (table["query"] == table["face"])).all()
    found = verification.verification(table, QUICK)
    assert found["auc"].value == pytest.approx(roc_auc_score(table.same, table.score), abs=1e-12)
    threshold = np.sort(table.score)
    false_accept = [(table.score[~table.same] >= t).mean() for t in threshold]
    false_reject = [(table.score[table.same] < t).mean() for t in threshold]
    # The interpolated crossing lies within one step of the finest grid, 1/160 of the matched trials.
    nearest = np.argmin(np.abs(np.subtract(false_accept, false_reject)))
    assert found["eer"].value == pytest.approx(false_reject[nearest], abs=1 / 160)
    assert found["auc"].low < found["auc"].value < found["auc"].high


def gaussian_world(rng, n, strengths, shrunk):
    """Each direction of a face is predicted with its own correlation and its own, unhelpful, scale."""
    true = rng.normal(size=(n, len(strengths)))
    noise = rng.normal(size=true.shape)
    return shrunk * (strengths * true + np.sqrt(1 - strengths**2) * noise), true


def test_likelihood_ratio_reaches_the_optimum_that_cosine_misses():
    rng = np.random.default_rng(0)
    strengths = np.array([0.8, 0.6, 0.4, 0.2] + [0.0] * 12)
    shrunk = np.array([0.2, 0.2, 0.2, 0.2] + [1.0] * 12)  # the loud directions know nothing
    fitted = LikelihoodRatio.fit(*gaussian_world(rng, 2000, strengths, shrunk), dims=16)
    pred, true = gaussian_world(rng, 1000, strengths, shrunk)

    def optimum(queries, gallery):
        rest = 1 - strengths**2
        return -np.square(gallery[None] - (strengths * queries / shrunk)[:, None]) @ (1 / rest) / 2 + (
            np.square(gallery) @ np.ones(16) / 2
        )

    few = Resampling(seed=0, replicates=20)
    score = {
        name: matching.matching(pred, true, np.arange(1000), few, metric=metric)["value"][0]
        for name, metric in (("cosine", "cosine"), ("fitted", fitted), ("optimum", optimum))
    }
    # In this world: cosine .538, fitted .824, optimum .829.
    assert score["optimum"] - 0.01 < score["fitted"] < score["optimum"] + 0.005
    assert score["fitted"] > score["cosine"] + 0.1
    np.testing.assert_allclose(fitted.correlations[:3], strengths[:3], atol=0.07)


def test_likelihood_ratio_is_calibrated():
    rng = np.random.default_rng(1)
    strengths, shrunk = np.array([0.8, 0.5]), np.ones(2)
    fitted = LikelihoodRatio.fit(*gaussian_world(rng, 4000, strengths, shrunk))
    scores = fitted(*gaussian_world(rng, 1500, strengths, shrunk))
    # A likelihood ratio has mean one over unmatched pairs; 1500 x 1499 of them give it within a few percent.
    assert np.exp(scores[~np.eye(1500, dtype=bool)]).mean() == pytest.approx(1, abs=0.1)


def test_likelihood_ratio_of_constant_predictions_is_zero(rng):
    true = rng.normal(size=(50, 4))
    fitted = LikelihoodRatio.fit(np.full((50, 4), 0.1), true)
    assert (fitted(true, true) == 0).all()
    assert matching.matching(true, true, np.arange(50), QUICK, metric=fitted)["value"][0] == 0.5


def test_bad_requests_say_what_to_do(rng):
    pred, true, speakers = world(rng, n_speakers=5)
    with pytest.raises(UserError, match="use l1, l2, cosine"):
        similarity.pairwise(pred, true, "euclid")
    with pytest.raises(UserError, match="matched and unmatched"):
        verification.verification(verification.trials(pred, true, speakers, seed=0).query("same"), QUICK)


def test_a_gallery_of_more_faces_than_there_are_people_is_refused():
    ranks = retrieval.Ranks(np.array([0, 3]), np.array([0, 0]), others=4)
    with pytest.raises(UserError, match="gallery of 10 .* 5 people"):
        retrieval.recall_at(ranks, 1, size=10)
