"""Exact search, ranks, the index and modelled faces against plain references and galleries made to deceive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2f.metrics import approximate, distractors, retrieval, search, similarity
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError

METRICS = ("cosine", "l2")
each_metric = pytest.mark.parametrize("metric", METRICS)


def plain(queries, gallery, metric):
    """Every score in float64, row by row."""
    queries, gallery = queries.astype(float), gallery.astype(float)
    if metric == "l2":
        return np.stack([-np.square(gallery - query).sum(1) for query in queries])
    lengths = [np.where(norm > 0, norm, 1) for norm in (np.linalg.norm(side, axis=1) for side in (queries, gallery))]
    queries, gallery = queries / lengths[0][:, None], gallery / lengths[1][:, None]
    return np.stack([(gallery * query).sum(1) for query in queries])


def first(scores, k):
    """Best first, equal scores by row number."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def world(rng, gallery=700, queries=23, dim=16, away=0.0):
    return tuple((away + rng.normal(size=(n, dim))).astype(np.float32) for n in (queries, gallery))


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks, parts of queries, and a last block that does not fill its groups."""
    for name, size in {"BLOCK": 300, "QUERIES": 15, "GROUP": 8, "LISTS": (3, 40), "RESCORED": 2**14}.items():
        monkeypatch.setattr(search, name, size)


@each_metric
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float32))
@pytest.mark.parametrize("away", (0.0, 3.0))
def test_top_equals_sorting_every_score(metric, dtype, away, small_blocks, rng, monkeypatch):
    monkeypatch.setattr(search, "fast_dtype", lambda device: dtype)
    queries, gallery = world(rng, away=away)
    scores = plain(queries, gallery, metric)
    for k in (1, 10, 300):
        found = search.top(queries, gallery, k, metric)
        np.testing.assert_array_equal(found.rows, first(scores, k))
        np.testing.assert_allclose(found.scores, np.take_along_axis(scores, found.rows, 1), rtol=1e-12, atol=1e-12)


@each_metric
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 90), queries=st.integers(1, 5), dim=st.integers(1, 70),
    size=st.floats(-8, 10), away=st.floats(0, 100), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_bound_is_never_below_the_score(metric, rows, queries, dim, size, away, seed):
    rng = np.random.default_rng(seed)
    asked, gallery = ((away + side) * np.float32(10**size) for side in world(rng, rows, queries, dim))
    gallery *= 10 ** rng.uniform(-2, 2, (rows, 1)).astype(np.float32)
    space = search._Space.of(gallery, metric)
    x = space.queries(asked.astype(float))
    ((_, block, norm),) = search._blocks(gallery, metric)
    exact = plain(asked, gallery, metric).T
    exact = np.stack([space.value(row, x) for row in exact]).T
    for dtype in (torch.bfloat16, torch.float32):
        bound = (space.ask(x, dtype) @ space.bounds(block, norm, dtype).T).double().numpy()
        assert (exact <= bound + torch.finfo(dtype).eps * np.abs(bound)).all()


@each_metric
def test_near_ties_below_what_bfloat16_can_tell(metric, small_blocks, rng):
    queries, gallery = world(rng)
    gallery[100:300] = queries[0] * (1 + 1e-4 * rng.normal(size=(200, 16)))
    gallery[400:420] = np.nextafter(queries[1], 9)
    gallery[410] = queries[1]
    found = search.top(queries, gallery, 5, metric)
    np.testing.assert_array_equal(found.rows, first(plain(queries, gallery, metric), 5))
    assert found.rows[1, 0] == 410 if metric == "l2" else 400 <= found.rows[1, 0] < 420
    assert found.listed[0] == len(gallery) and found.listed.min() == 13  # proven by all rows, and by the first list


@each_metric
def test_equal_rows_come_by_their_number(metric, small_blocks, rng):
    queries, gallery = world(rng)
    copies = rng.permutation(700)[:450]
    gallery[copies] = gallery[0]
    queries[3] = queries[4] = gallery[0]
    found = search.top(queries, gallery, 20, metric)
    np.testing.assert_array_equal(found.rows, first(plain(queries, gallery, metric), 20))
    np.testing.assert_array_equal(found.rows[3], np.unique([0, *copies])[:20])


@each_metric
def test_rows_and_queries_of_zeros(metric, small_blocks, rng):
    queries, gallery = world(rng)
    queries[2] = queries[5] = 0
    gallery[50:500:3] = 0
    found = search.top(queries, gallery, 9, metric)
    np.testing.assert_array_equal(found.rows, first(plain(queries, gallery, metric), 9))
    nothing = search.top(queries, np.zeros_like(gallery), 9, metric)
    np.testing.assert_array_equal(nothing.rows, np.tile(np.arange(9), (23, 1)))


@each_metric
def test_one_far_row_does_not_blur_the_others(metric, rng):
    queries, gallery = world(rng, gallery=5000)
    gallery[17] *= 1e6
    found = search.top(queries, gallery, 5, metric)
    np.testing.assert_array_equal(found.rows, first(plain(queries, gallery, metric), 5))
    assert found.listed.max() == 42


@each_metric
def test_memory_maps_and_halves(metric, tmp_path, rng):
    queries, gallery = world(rng)
    np.save(tmp_path / "gallery.npy", gallery.astype(np.float16))
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    scores = plain(queries, gallery.astype(np.float16), metric)
    np.testing.assert_array_equal(search.top(queries, mapped, 4, metric).rows, first(scores, 4))
    placed = search.rank_of(queries, mapped, np.arange(23), metric)
    np.testing.assert_array_equal(placed.better, (scores > np.diagonal(scores)[:, None]).sum(1))


@each_metric
@pytest.mark.parametrize("away", (0.0, 3.0))
def test_ranks_are_those_of_retrieval(metric, away, small_blocks, rng):
    queries, gallery = world(rng, away=away)
    gallery[300:600] = gallery[rng.integers(0, 300, 300)]
    gallery[650:] = 0
    queries[3] = 0
    truth = rng.integers(0, 700, len(queries))
    ours, theirs = (module(queries, gallery, truth, metric) for module in (search.rank_of, retrieval.ranks))
    for part, reference in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(part, reference)


@each_metric
def test_ranks_by_size_are_the_ranks_among_the_first_rows(metric, small_blocks, rng):
    queries, gallery = world(rng)
    gallery[500:600] = gallery[:100]
    truth = rng.integers(0, 40, len(queries))
    found = search.ranks_by_size(queries, gallery, truth, [700, 40, 333], metric)
    assert list(found) == [40, 333, 700]
    for size, placed in found.items():
        for part, reference in zip(placed, retrieval.ranks(queries, gallery[:size], truth, metric), strict=True):
            np.testing.assert_array_equal(part, reference)
    with pytest.raises(UserError, match="must hold row 39"):
        search.ranks_by_size(queries, gallery, np.full(23, 39), [39, 700], metric)


def test_recall_by_size_counts_first_places_and_is_an_expectation_below_the_smallest_gallery(rng):
    queries, gallery = world(rng, gallery=2000, queries=200)
    queries += 1.2 * gallery[:200]
    truth, sampling = np.arange(200), Resampling(seed=1, replicates=100)
    placed = {"ours": search.ranks_by_size(queries, gallery, truth, [200, 1000, 2000])}
    beside = {"some": {200: placed["ours"][200]}}
    table = search.recall_by_size(placed, beside, [100, 200, 2000], truth, sampling).set_index(["size", "measure"])
    rank = placed["ours"][2000].expected
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


def test_a_feature_that_knows_nothing_ranks_in_the_middle(rng):
    queries, gallery = world(rng)
    placed = search.rank_of(queries, np.tile(gallery[:1], (700, 1)), np.arange(23))
    assert (placed.wins == 0.5).all()


def test_the_likelihood_ratio_orders_as_a_distance(rng):
    true = rng.normal(size=(400, 12))
    pred = 0.7 * true @ rng.normal(size=(12, 9)) + rng.normal(size=(400, 9))
    ratio = LikelihoodRatio.fit(pred, true, 8)
    queries, gallery = search.ratio_space(ratio, pred[:30], true)
    np.testing.assert_array_equal(search.top(queries, gallery, 10, "l2").rows, first(ratio(pred[:30], true), 10))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 701}, "k is 701"),
        ({"metric": "l1"}, "'l1'"),
        ({"gallery": "nan"}, "Row 5 of the gallery has length nan"),
        ({"queries": "nan"}, "Query 5 has length nan"),
    ],
)
def test_bad_input_is_named(change, says, rng):
    queries, gallery = world(rng)
    call = {"queries": queries, "gallery": gallery, "k": 3} | change
    for name, side in (("queries", queries), ("gallery", gallery)):
        if change.get(name) == "nan":
            side[5, 2] = np.nan
            call[name] = side
    with pytest.raises(UserError, match=says):
        search.top(**call)


@each_metric
def test_the_index_finds_all_with_every_cell_and_most_with_some(metric, rng):
    centres = rng.normal(size=(40, 16))
    gallery = (centres[rng.integers(0, 40, 4000)] + 0.3 * rng.normal(size=(4000, 16))).astype(np.float32)
    queries = gallery[:50] + 0.1 * rng.normal(size=(50, 16)).astype(np.float32)
    exact = search.top(queries, gallery, 10, metric).rows
    built, again = (approximate.index(gallery, metric, 40, seed=1) for _ in range(2))
    assert (approximate.recall(approximate.top(built, queries, 10, 40), exact) == 1).all()
    some = approximate.top(built, queries, 10, 4)
    np.testing.assert_array_equal(some, approximate.top(again, queries, 10, 4))
    assert 0.8 < approximate.recall(some, exact).mean() <= 1
    assert approximate.recall(np.full((1, 2), -1), np.array([[0, 1]]))[0] == 0
    with pytest.raises(UserError, match="4001 cells"):
        approximate.index(gallery, metric, 4001, seed=1)


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
    real, others, asked = people(rng, 1500), people(rng, 1500), people(rng, 150)
    voices = asked + 0.8 * rng.normal(size=asked.shape).astype(np.float32)
    sampling, truth = Resampling(seed=1, replicates=300), np.arange(150)
    estimates = []
    for gallery in (others, distractors.distractors(real, 1500, seed=2).features):
        placed = search.rank_of(voices, np.concatenate([asked, gallery]), truth, metric)
        estimates.append(retrieval.recall(placed, truth, [1, 2, 5, 10], sampling).loc["percent"])
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
