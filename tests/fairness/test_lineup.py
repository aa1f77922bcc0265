"""Line-up risk against plain counting, known worlds, exact chance and exact bounds."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from s2f.fairness import lineup
from s2f.metrics import retrieval, similarity
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.retrieval import Ranks
from s2f.study.paths import UserError

QUICK = Resampling(seed=5, replicates=300)


def world(rng, n_speakers=60, clips=2, strength=0.6, dim=6):
    """Voices that share part of their faces, compared with all of them, and who speaks."""
    own = np.repeat(np.arange(n_speakers), clips)
    faces = rng.normal(size=(n_speakers, dim))
    voices = strength * faces[own] + np.sqrt(1 - strength**2) * rng.normal(size=(len(own), dim))
    return lineup.Comparison(similarity.pairwise(voices, faces, "cosine"), own), own


def above(compared, speakers, pools, best=None):
    pairs = compared.matching(2, speakers, QUICK).iloc[0]
    return lineup.innocents_above(pairs, pairs if best is None else best, compared.ranks, pools, QUICK)


def innocents(compared, row, pool):
    """Innocents above the true face of a clip, the mean over every pool of that size."""
    others = np.delete(compared.scores[row], compared.own[row])
    pools = [others[list(drawn)] for drawn in combinations(range(len(others)), pool - 1)]
    return np.mean([(drawn > compared.scores[row, compared.own[row]]).sum() for drawn in pools])


def test_innocents_above_equal_the_mean_over_every_pool(rng):
    compared, speakers = world(rng, n_speakers=8)
    table = above(compared, speakers, [3, 5]).set_index("pool")
    assert table.index.tolist() == [3, 5, 8]  # the gallery comes along
    for pool in table.index:
        assert table.value[pool] == pytest.approx(np.mean([innocents(compared, row, pool) for row in range(16)]))
    assert table.exact.all()


def test_innocents_above_grow_in_proportion_beyond_the_gallery(rng):
    compared, speakers = world(rng)
    table = above(compared, speakers, [60, 1_000_000])
    assert table["exact"].tolist() == [True, False]
    for column in ("value", "low", "high", "chance", "ceiling", "median"):
        assert table[column][1] == pytest.approx(table[column][0] / 59 * 999_999)
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()


def test_a_score_that_knows_nothing_leaves_half_of_the_innocents_above(rng):
    compared, speakers = world(rng)
    table = above(compared._replace(scores=np.ones_like(compared.scores)), speakers, [9])
    np.testing.assert_allclose(table["value"], table["chance"])


def test_no_innocent_above_leaves_the_exact_binomial_bound(rng):
    compared, speakers = world(rng, strength=1.0)
    table = above(compared, speakers, [1001])
    assert (table["value"] == 0).all() and (table["low"] == 0).all()
    # With a chance of `high` an innocent, no one of 60 speakers meets one with probability 2.5 %.
    assert (1 - table["high"].iloc[-1] / 1000) ** 60 == pytest.approx(0.025)


def test_first_matches_are_exact_up_to_the_gallery(rng):
    compared, speakers = world(rng)
    table = lineup.first_matches(compared.ranks, [5, 20], [1, 5], speakers, QUICK).set_index("found")
    assert table.index.tolist() == ["1_of_5", "1_of_20", "1_of_60", "5_of_20", "5_of_60"]
    hits = retrieval.recall_at(compared.ranks, 5, 20)
    assert table.value["5_of_20"] == pytest.approx(hits.mean()) and table.exact.all()
    assert table.chance["5_of_20"] == 0.25
    wrong = lineup.falsely_accused(compared.ranks)
    assert wrong.mean() == pytest.approx(1 - table.value["1_of_60"])


def simulated(rng, distance, gallery, n=2000):
    """Ranks when innocents score like N(0, 1) and true faces like N(distance, 1), and P(innocent above) of many."""
    better = rng.binomial(gallery - 1, norm.sf(rng.normal(distance, 1, n)))
    return Ranks(better, np.zeros(n, int), gallery - 1), norm.sf(rng.normal(distance, 1, 200_000))


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_the_continued_line_does_not_promise_too_little(distance, rng):
    placed, chances = simulated(rng, distance, gallery=400)
    table = lineup.first_matches(placed, [4000, 40_000], [1, 10], np.arange(2000), QUICK)
    for row in table[~table["exact"]].itertuples():
        truth = binom.cdf(row.k - 1, row.pool - 1, chances).mean()
        assert truth < row.high and row.value < 3 * truth + 2e-3


def test_a_score_that_knows_nothing_is_continued_as_chance(rng):
    placed = Ranks(np.arange(400), np.zeros(400, int), 399)  # every rank once
    table = lineup.first_matches(placed, [40_000], [1, 10], np.arange(400), QUICK)
    np.testing.assert_allclose(table["value"], table["chance"], rtol=1e-6)


def test_a_speaker_never_found_keeps_the_bound_of_the_gallery():
    placed = Ranks(np.full(50, 99), np.zeros(50, int), 99)  # always last
    table = lineup.first_matches(placed, [1000], [1], np.arange(50), QUICK)
    assert (table["value"] == 0).all()
    np.testing.assert_allclose(table["high"], 1 - 0.025 ** (1 / 50))


def test_pools_that_cannot_be_are_refused(rng):
    compared, speakers = world(rng)
    with pytest.raises(UserError, match="pool of 1 holds no innocent"):
        above(compared, speakers, [1, 10])
    with pytest.raises(UserError, match="61 people cannot be drawn"):
        lineup.first_matches(compared.ranks, [10], [1], speakers, QUICK, known=61)


def test_the_first_match_is_compared_by_label_and_ties_are_shared():
    labels = np.array(["a", "a", "b", "b"])
    scores = np.array([[0.1, 0.9, 0.2, 0.3], [0.1, 0.5, 0.5, 0.2], [0.7, 0.1, 0.2, 0.3]])
    ours, chance = lineup.top_match_differs(scores, np.array([0, 1, 2]), labels)
    assert ours.tolist() == [0, 0.5, 1] and chance.tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(UserError, match="1 people have no label"):
        lineup.top_match_differs(scores, np.array([0, 1, 2]), np.array(["a", "a", "b", None]))


def test_top_matches_find_who_is_taken_for_another_group(rng):
    """The score knows the group of a only; b is matched with anybody."""
    group = pd.Series(["a"] * 40 + ["b"] * 20 + ["c"] * 3)
    own = np.arange(63)
    scores = rng.random((63, 63))
    scores[:40, :40] += 1
    best = np.eye(63)
    table = lineup.top_matches(scores, best, own, group, own, QUICK, minimum=10).set_index("group")
    assert table.value["a"] == 0 and 0 < table.high["a"] < 0.1
    assert table.chance["b"] == pytest.approx(43 / 63)
    assert table.low["b"] < table.chance["b"] < table.high["b"]
    assert (table.ceiling.dropna() == 0).all()
    assert np.isnan(table.value["c"]) and table.n_speakers["c"] == 3
    assert table.value["all"] == pytest.approx(lineup.top_match_differs(scores, own, group.to_numpy())[0].mean())


def test_line_ups_hold_distinct_people_of_the_label_and_differ_in_one(rng):
    own = np.repeat(np.arange(30), 2)
    labels = np.array(["F"] * 20 + ["M"] * 7 + ["X"] * 3)
    drawn = lineup.draw_lineups(labels, own, members=6, times=3, seed=1)
    assert np.bincount(drawn.voice, minlength=60).tolist() == [3] * 54 + [0] * 6  # too few X
    assert (drawn.present[:, 0] == own[drawn.voice]).all()
    assert (drawn.present[:, 1:] == drawn.absent[:, 1:]).all()
    assert (drawn.absent != own[drawn.voice][:, None]).all()
    for faces in (drawn.present, drawn.absent):
        assert all(len(set(row)) == 6 for row in faces)
        assert (labels[faces] == labels[own[drawn.voice]][:, None]).all()
    with pytest.raises(UserError, match="No speaker has 20 others"):
        lineup.draw_lineups(labels, own, members=20, times=1, seed=1)


def choices(rng, distance, scale=1.0):
    """Choices in line-ups whose scores are exact log likelihood ratios of N(distance, 1) against N(0, 1)."""
    own = np.arange(150)
    evidence = rng.normal(size=(150, 150)) + distance * np.eye(150)
    drawn = lineup.draw_lineups(np.zeros(150), own, members=6, times=4, seed=1)
    scores = distance * evidence
    return lineup.choices(scores, drawn, own, scale), scores, drawn


def test_hits_equal_matching_of_six(rng):
    compared, speakers = world(rng, n_speakers=100)
    drawn = lineup.draw_lineups(np.zeros(100), compared.own, members=6, times=40, seed=1)
    hits = lineup.confidence(lineup.choices(compared.scores, drawn, speakers, 1.0), QUICK).value["hits"]
    # 8,000 draws about an exact expectation: a standard deviation of at most .0056.
    assert hits == pytest.approx(compared.matching(6, speakers, QUICK)["value"][0], abs=0.02)


def test_likelihoods_are_as_sure_as_right_and_their_scale_is_found(rng):
    table, scores, drawn = choices(rng, distance=1.5)
    found = lineup.confidence(table, QUICK)
    assert found.low["hits"] < found.value["present"] < found.high["hits"]
    assert lineup.certainty_scale(scores, drawn) == pytest.approx(1, abs=0.2)
    assert lineup.certainty_scale(20 * scores, drawn) == pytest.approx(1 / 20, rel=0.2)
    bins = lineup.calibration(table, np.array([0.2, 0.5, 0.8, 1.0]), QUICK)
    always, half = (bins[bins["speaker_there"] == name] for name in ("always", "half"))
    assert (always["low"] < always["confident"]).all() and (always["confident"] < always["high"]).all()
    assert (half["value"].to_numpy() < always["value"].to_numpy()).all()


def test_confidence_warns_of_an_absent_speaker_only_if_the_score_knows_something(rng):
    nothing = lineup.confidence(choices(rng, distance=0.0)[0], QUICK)
    np.testing.assert_allclose(nothing.value[["hits", "present", "absent"]], 1 / 6)
    assert nothing.value["auc"] == 0.5
    something = lineup.confidence(choices(rng, distance=3.0)[0], QUICK)
    assert something.low["auc"] > 0.6 and something.value["absent"] < something.value["present"]
