"""Ranks in large galleries, the index and modelled faces against plain references."""

import numpy as np
import pytest

from s2f.metrics import distractors, retrieval, search, similarity
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError

METRICS = ("cosine", "l2")
each_metric = pytest.mark.parametrize("metric", METRICS)


def world(rng, gallery=700, queries=23, dim=16, away=0.0):
    return tuple((away + rng.normal(size=(n, dim))).astype(np.float32) for n in (queries, gallery))


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks and parts of queries."""
    for name, size in {"BLOCK": 300, "QUERIES": 15}.items():
        monkeypatch.setattr(search, name, size)


@each_metric
@pytest.mark.parametrize("away", (0.0, 3.0))
def test_ranks_by_size_are_the_ranks_among_the_first_rows(metric, away, small_blocks, rng):
    """With copies, rows of zeros and a query of zeros."""
    queries, gallery = world(rng, away=away)
    gallery[300:600] = gallery[rng.integers(0, 300, 300)]
    gallery[650:] = queries[3] = 0
    truth = rng.integers(0, 40, len(queries))
    found = search.ranks_by_size(queries, gallery, truth, [700, 40, 333], metric)
    assert list(found) == [40, 333, 700]
    for size, ranks in found.items():
        for part, reference in zip(ranks, retrieval.ranks(queries, gallery[:size], truth, metric), strict=True):
            np.testing.assert_array_equal(part, reference)


@each_metric
def test_a_memory_map_of_half_precision_is_ranked(metric, tmp_path, rng):
    queries, gallery = world(rng)
    np.save(tmp_path / "gallery.npy", gallery.astype(np.float16))
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    ranks = search.ranks_by_size(queries, mapped, np.arange(23), [700], metric)[700]
    np.testing.assert_array_equal(
        ranks.better, retrieval.ranks(queries, np.array(mapped), np.arange(23), metric).better
    )


def test_an_embedding_that_knows_nothing_ranks_in_the_middle(rng):
    queries, gallery = world(rng)
    ranks = search.ranks_by_size(queries, np.tile(gallery[:1], (700, 1)), np.arange(23), [700])[700]
    assert (ranks.wins == 0.5).all()


def test_the_likelihood_ratio_orders_as_a_distance(rng):
    true = rng.normal(size=(400, 12))
    pred = 0.7 * true @ rng.normal(size=(12, 9)) + rng.normal(size=(400, 9))
    ratio = LikelihoodRatio.fit(pred, true, 8)
    queries, gallery = search.ratio_space(ratio, pred[:30], true)
    best = np.argsort(-ratio(pred[:30], true), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(retrieval.nearest(queries, gallery, "l2", 10), best)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sizes": [22, 700]}, "must hold row 22"),
        ({"sizes": [23, 701]}, "at most 700"),
        ({"metric": "l1"}, "'l1'"),
        ({"gallery": np.full((700, 16), np.nan)}, "gallery feature of row 0 holds nan"),
        ({"queries": np.full((23, 16), np.nan)}, "Query 0 has length nan"),
    ],
)
def test_bad_input_is_named(change, says, rng):
    queries, gallery = world(rng)
    call = {"queries": queries, "gallery": gallery, "true_index": np.arange(23), "sizes": [700]} | change
    with pytest.raises(UserError, match=says):
        search.ranks_by_size(**call)


@each_metric
def test_the_index_finds_all_with_every_cell_and_most_with_some(metric, rng):
    centres = rng.normal(size=(40, 16))
    gallery = (centres[rng.integers(0, 40, 4000)] + 0.3 * rng.normal(size=(4000, 16))).astype(np.float32)
    queries = gallery[:50] + 0.1 * rng.normal(size=(50, 16)).astype(np.float32)
    exact = retrieval.nearest(queries, gallery, metric, 10)
    built, again = (search.index(gallery, metric, 40, seed=1) for _ in range(2))
    np.testing.assert_array_equal(search.nearest(built, queries, 10, cells=40), exact)
    some = search.nearest(built, queries, 10, cells=4)
    np.testing.assert_array_equal(some, search.nearest(again, queries, 10, cells=4))
    assert 0.8 < (some[:, :, None] == exact[:, None]).any(axis=1).mean() <= 1
    with pytest.raises(UserError, match="4001 cells"):
        search.index(gallery, metric, 4001, seed=1)


def test_recall_by_size_counts_first_places_and_is_an_expectation_below_the_smallest_gallery(rng):
    queries, gallery = world(rng, gallery=2000, queries=200)
    queries += 1.2 * gallery[:200]
    truth, sampling = np.arange(200), Resampling(seed=1, replicates=100)
    ranks = {"ours": search.ranks_by_size(queries, gallery, truth, [200, 1000, 2000])}
    beside = {"some": {200: ranks["ours"][200]}}
    table = search.recall_by_size(ranks, beside, [100, 200, 2000], truth, sampling).set_index(["size", "measure"])
    rank = ranks["ours"][2000].expected
    for measure, first in {"r1": 1, "r10": 10, "r1_percent": 20}.items():
        row = table.loc[(2000, measure)]
        assert row["value"] == pytest.approx((rank <= first).mean()) and row["chance"] == first / 2000
        assert np.isnan(row["some"]) and row["low"] <= row["value"] <= row["high"]
    assert table.value[2000, "rank"] == pytest.approx(rank.mean()) and table.chance[2000, "rank"] == 1000.5
    halves = []
    for _ in range(300):
        others = rng.permutation(200)
        kept = np.array([[*(others[others != own][:99]), own] for own in truth])
        scores = np.take_along_axis(similarity.pairwise(queries, gallery[:200], "cosine"), kept, 1)
        halves.append((scores[:, :-1] < scores[:, -1:]).all(1).mean())
    assert table.value[100, "r1"] == pytest.approx(np.mean(halves), abs=0.01)
    assert table.some[100, "r1"] == pytest.approx(table.value[100, "r1"])


def people(rng, n):
    """Two sexes and a common spread: what a single Gaussian blurs."""
    sex = rng.integers(0, 2, n) * 2 - 1
    traits = rng.normal(size=(n, 5)) * [0.4, 1, 0.8, 0.6, 0.5]
    return (traits + 2.5 * sex[:, None] * np.eye(5)[0] + 7).astype(np.float32)


def test_distractors_keep_mean_and_covariance(rng):
    real = people(rng, 900)
    for bandwidth in (0.0, 0.3, 1.0):
        made, like = distractors.distractors(real, 40_000, seed=3, bandwidth=bandwidth)
        assert np.bincount(like, minlength=900).min() > 0
        np.testing.assert_allclose(made.mean(0), real.mean(0), atol=0.08)
        np.testing.assert_allclose(np.cov(made.T), np.cov(real.T), atol=0.15)
    np.testing.assert_array_equal(made, distractors.distractors(real, 40_000, seed=3, bandwidth=1.0).features)
    repeated, like = distractors.distractors(real, 50, 1, bandwidth=0.0)
    np.testing.assert_allclose(repeated, real[like], atol=1e-5)


@each_metric
def test_recall_among_distractors_is_that_among_people(metric, rng):
    """A gallery modelled on one half of the people against the true other half of the same size."""
    real, others, queried = people(rng, 1500), people(rng, 1500), people(rng, 150)
    voices = queried + 0.8 * rng.normal(size=queried.shape).astype(np.float32)
    sampling, truth = Resampling(seed=1, replicates=300), np.arange(150)
    estimates = []
    for gallery in (others, distractors.distractors(real, 1500, seed=2).features):
        ranks = search.ranks_by_size(voices, np.concatenate([queried, gallery]), truth, [1650], metric)[1650]
        estimates.append(retrieval.recall(ranks, truth, [1, 2, 5, 10], sampling).loc["percent"])
    true, modelled = estimates
    assert modelled["value"].between(true["low"], true["high"]).all()
    assert (true["value"] > 3 * true["chance"]).all()


def test_the_excess_over_a_crowd_is_nought_if_the_crowd_is_like_people_and_found_if_not(rng):
    """Voices near their faces, on a line; a crowd that is twice as wide is beaten more often."""
    found = {1.0: [], 2.0: []}
    for _ in range(20):
        face = rng.normal(size=100)
        voice = face + 0.5 * rng.normal(size=100)
        scores = -np.abs(voice[:, None] - face)
        for width, estimates in found.items():
            away = np.abs(voice[:, None] - width * rng.normal(size=4000))
            beaten = (away > -np.diagonal(scores)[:, None]).mean(axis=1)
            estimates.append(distractors.excess(scores, beaten, Resampling(seed=1, replicates=200)))
    assert sum(estimate.low < 0 < estimate.high for estimate in found[1.0]) >= 17
    assert all(estimate.high < 0 for estimate in found[2.0])
    sampling = Resampling(seed=1, replicates=50)
    assert distractors.excess(np.ones((40, 40)), np.full(40, 0.5), sampling).value == 0


def test_distractors_ask_for_people():
    with pytest.raises(UserError, match="1 people"):
        distractors.distractors(np.ones((1, 3)), 5, seed=0)
    with pytest.raises(UserError, match="1.5"):
        distractors.distractors(np.ones((4, 3)), 5, seed=0, bandwidth=1.5)
