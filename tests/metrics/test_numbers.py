"""What every metric does with NaN, infinity, outliers, duplicates, constant embeddings and the order of rows."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s2f.metrics import (
    attributes,
    bootstrap,
    consistency,
    craniofacial,
    distractors,
    diversity,
    feature_space,
    matching,
    paired,
    probes,
    protocols,
    retrieval,
    search,
    similarity,
    verification,
)
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.numbers import finite
from s2f.study.paths import UserError

PEOPLE, DIM = 12, 3
QUICK = Resampling(seed=1, replicates=20)
WHO = np.arange(PEOPLE)
NAMES = [f"p{number:02d}/x" for number in WHO]


def arm(pred, true, metric="cosine"):
    return protocols.Arm(pd.DataFrame(pred, NAMES), pd.DataFrame(true, NAMES), metric)


def by_lists(pred, true, metric):
    """1:2 matching with each other person once, and retrieval."""
    rows = [(name, name, other) for name in NAMES for other in NAMES if other != name]
    table = pd.DataFrame(rows, columns=["probe", "target", "other_1"])
    one = {"system": arm(pred, true, metric)}
    found = [protocols.matching(table, one, {}, QUICK, [2])["value"], protocols.retrieve(one, {}, QUICK)["value"]]
    return np.concatenate(found)


def by_verification(pred, true, metric):
    every = [(a, b) for a in NAMES for b in NAMES]
    table = pd.DataFrame(every, columns=["voice", "face"])
    speakers = {f"{side}_speaker": table[side].str[:3] for side in table}
    table = table.assign(**speakers, same=table["voice"] == table["face"])
    found = verification.verification(protocols.played(table, arm(pred, true, metric)), QUICK)
    return np.array([found["auc"].value, found["eer"].value])


def recall(pred, true, metric):
    return (
        retrieval.recall(retrieval.ranks(pred, true, WHO, metric), WHO, [1, 5], QUICK).loc["items", "value"].to_numpy()
    )


# Each takes predictions, true embeddings of as many people, and a metric; chance is that of an embedding which knows
# nothing, in the order of the results.
HARMONIC = (1 / np.arange(1, PEOPLE + 1)).sum() / PEOPLE
RANKED = {
    "ranks": (lambda p, t, m: np.array([retrieval.ranks(p, t, WHO, m).wins.mean()]), [0.5]),
    "recall": (recall, [1 / 12, 5 / 12]),
    "matching": (lambda p, t, m: matching.matching(p, t, WHO, QUICK, metric=m)["value"].to_numpy(), [0.5]),
    "matching of 5": (lambda p, t, m: matching.matching(p, t, WHO, QUICK, n=5, metric=m)["value"].to_numpy(), [0.2]),
    "paired": (lambda p, t, m: paired.matching({"a": paired.scores(p, t, m)}, "a", QUICK)["value"].to_numpy(), [0.5]),
    "verification": (by_verification, [0.5, 0.5]),
    "lists and mAP": (by_lists, [0.5, HARMONIC, 1 / 12, 5 / 12, 10 / 12]),
    "search": (lambda p, t, m: np.array([search.ranks_by_size(p, t, WHO, [PEOPLE], m)[PEOPLE].wins.mean()]), [0.5]),
}  # fmt: skip
each = pytest.mark.parametrize(("found", "chance"), RANKED.values(), ids=RANKED)
METRICS = ("cosine", "l2")
each_metric = pytest.mark.parametrize("metric", METRICS)
# Small whole numbers: many ties, and an exact answer.
small = arrays(np.int8, (PEOPLE, DIM), elements=st.integers(-2, 2)).map(lambda a: a.astype(float))


@each
@each_metric
def test_a_constant_embedding_scores_chance_exactly(found, chance, metric):
    true = np.random.default_rng(0).normal(size=(PEOPLE, DIM))
    for value in (0.0, 0.1, 1e-30, 7e10):
        everywhere = np.full((PEOPLE, DIM), value)
        if not (metric == "cosine" and value == 1e-30):  # too short for search, and for no other
            np.testing.assert_allclose(found(everywhere, everywhere, metric), chance, atol=1e-12)
    np.testing.assert_allclose(found(true, np.tile(true[:1], (PEOPLE, 1)), metric)[:1], chance[:1], atol=1e-12)


@each
@each_metric
@settings(max_examples=8)
@given(pred=small, true=small, order=st.permutations(range(PEOPLE)))
def test_the_order_of_people_changes_nothing(found, chance, metric, pred, true, order):
    np.testing.assert_allclose(found(pred, true, metric), found(pred[order], true[order], metric), atol=1e-12)


@each
@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("side", (0, 1))
def test_numbers_that_are_no_numbers_are_refused(found, chance, bad, side, rng):
    for metric in METRICS:
        both = [rng.normal(size=(PEOPLE, DIM)) for _ in range(2)]
        both[side][7, 1] = bad
        with pytest.raises(UserError, match=r"row (7|p07/x) holds|Query 7 has length"):
            found(*both, metric)


def exact(query, face, metric):
    """A number that orders pairs as their score does, without rounding."""
    query, face = ([Fraction(value) for value in row.tolist()] for row in (query, face))
    if metric == "l1":
        return -sum(abs(a - b) for a, b in zip(query, face, strict=True))
    if metric == "l2":
        return -sum((a - b) ** 2 for a, b in zip(query, face, strict=True))
    dot = sum(a * b for a, b in zip(query, face, strict=True))
    lengths = sum(a * a for a in query) * sum(b * b for b in face)
    return (1 if dot > 0 else -1) * dot**2 / lengths if lengths else Fraction(0)


@settings(max_examples=50)
@given(pred=small, true=small, metric=st.sampled_from(["cosine", "l1", "l2"]), scale=st.integers(-25, 25))
def test_ranks_are_those_of_exact_fractions_at_any_scale(pred, true, metric, scale):
    """Also where one face is far away from all others, which leaves their ties alone."""
    outlier = true * np.where(WHO == 3, 1e5, 1)[:, None]
    for faces in (true, outlier):
        ranks = [retrieval.ranks(pred * 2.0**scale, faces * 2.0**scale, WHO, metric)]
        if metric != "l1":
            ranks.append(search.ranks_by_size(pred * 2.0**scale, faces * 2.0**scale, WHO, [PEOPLE], metric)[PEOPLE])
        for place in WHO:
            scores = [exact(pred[place], face, metric) for face in faces]
            for found in ranks:
                assert found.better[place] == sum(score > scores[place] for score in scores)
                assert found.equal[place] == sum(score == scores[place] for score in scores) - 1


@each_metric
def test_an_outlier_moves_ranks_only_by_itself(metric, rng):
    true = rng.normal(size=(400, 16)).astype(np.float32)
    pred, own = true + rng.normal(size=true.shape).astype(np.float32), np.arange(400)
    far = true.copy()
    far[5] *= 1e5
    for find in (retrieval.ranks, lambda q, g, o, m: search.ranks_by_size(q, g, o, [400], m)[400]):
        before, after = find(pred, true, own, metric), find(pred, far, own, metric)
        moved = np.abs(before.better - after.better)
        assert np.delete(moved, 5).max() <= 1 and (np.delete(after.equal, 5) == np.delete(before.equal, 5)).all()


@pytest.mark.parametrize(("metric", "away"), [("cosine", 0.0), ("l2", 0.0), ("l2", 1e7)])
def test_copies_tie_wherever_they_stand(metric, away, rng):
    """At distances far smaller than the lengths too, where a matrix product would lose all digits."""
    true = np.repeat(away + rng.normal(size=(150, 32)), 2, axis=0)[rng.permutation(300)]
    pred = true + rng.normal(size=true.shape)
    for ranks in (
        retrieval.ranks(pred, true, np.arange(300), metric),
        search.ranks_by_size(pred, true, np.arange(300), [300], metric)[300],
    ):
        assert (ranks.equal == 1).all()


@given(arrays(float, 30, elements=st.floats(-1e300, 1e300)))
def test_rounding_keeps_order_and_is_done_once(scores):
    rounded = similarity.rounded(scores)
    assert (np.diff(rounded[np.argsort(scores)]) >= 0).all()
    np.testing.assert_array_equal(similarity.rounded(rounded[np.isfinite(rounded)]), rounded[np.isfinite(rounded)])
    np.testing.assert_array_equal(similarity.rounded(-scores), -rounded)


def with_bad(shape=(PEOPLE, DIM)):
    values = np.random.default_rng(3).normal(size=shape)
    values[7] = np.nan
    return values


GOOD = np.random.default_rng(4).normal(size=(PEOPLE, DIM))
LABELS = pd.DataFrame({"sex": ["F", "M"] * 6})
OTHERS = {
    "angles": lambda: similarity.angles(with_bad(), GOOD),
    "feature_similarity": lambda: similarity.feature_similarity(GOOD, with_bad()),
    "nearest": lambda: retrieval.nearest(GOOD, with_bad(), "l2", 2),
    "ranks_from_scores": lambda: retrieval.ranks_from_scores(with_bad((PEOPLE, PEOPLE)), WHO),
    "matching_from_scores": lambda: matching.matching_from_scores(with_bad((PEOPLE, PEOPLE)), WHO, WHO, QUICK),
    "paired.matching": lambda: paired.matching({"a": with_bad((PEOPLE, PEOPLE))}, "a", QUICK),
    "paired.recall": lambda: paired.recall({"a": with_bad((PEOPLE, PEOPLE))}, "a", [1], 5, QUICK),
    "likelihood ratio": lambda: LikelihoodRatio.fit(GOOD, with_bad(), 2),
    "distractors": lambda: distractors.distractors(with_bad(), 5, seed=0),
    "excess": lambda: distractors.excess(with_bad((PEOPLE, PEOPLE)), np.full(PEOPLE, 0.5), QUICK),
    "index": lambda: search.index(with_bad(), "l2", 1, seed=0),
    "interval": lambda: bootstrap.interval(with_bad(PEOPLE), WHO, QUICK),
    "correlation": lambda: bootstrap.correlation(GOOD[:, 0], with_bad(PEOPLE), WHO, QUICK),
    "slope": lambda: bootstrap.slope(with_bad(PEOPLE), GOOD[:, 0], WHO, QUICK),
    "auc": lambda: bootstrap.auc(with_bad(PEOPLE), WHO % 2 == 0, WHO, QUICK),
    "craniofacial": lambda: craniofacial.craniofacial(GOOD, with_bad(), list("abc"), WHO, QUICK),
    "neighbours": lambda: diversity.neighbours(with_bad(), WHO),
    "within": lambda: diversity.within(with_bad(), WHO // 2),
    "spread": lambda: diversity.spread(GOOD, with_bad(), WHO, QUICK),
    "segments": lambda: consistency.segment_angles(with_bad((PEOPLE, 2, 2, DIM))),
    "fused": lambda: consistency.fused_recall(with_bad((PEOPLE, 2, DIM)), GOOD, WHO, [1], "l2", QUICK, 1, 5),
    "controls": lambda: probes.negative_controls(with_bad(), LABELS, WHO, WHO < 6, QUICK),
    "classifier": lambda: attributes.attribute_classifier(with_bad(), LABELS["sex"]),
    "read attributes": lambda: attributes.read_attributes(GOOD, LABELS, {"drawn": with_bad()}),
    "readings": lambda: feature_space.readings(GOOD, LABELS, {"drawn": with_bad()}),
    "projection": lambda: feature_space.project(with_bad(), "PCA", 0, 2.0, 2),
    "separation": lambda: feature_space.separation({"voice": with_bad()}, LABELS, 5, QUICK),
}


@pytest.mark.parametrize("measure", OTHERS.values(), ids=OTHERS)
def test_every_other_measure_refuses_them_too(measure):
    with pytest.raises(UserError, match="row 7 holds nan: set that item aside"):
        measure()


def test_the_row_has_its_label_and_numbers_beyond_the_first_block_are_seen(monkeypatch):
    monkeypatch.setattr("s2f.study.numbers.BLOCK", 4)
    table = pd.DataFrame(np.zeros((9, 2)), index=[f"clip {number}" for number in range(9)])
    finite(face_feature=table, number=np.arange(3), name=np.array(["a"]), empty=np.zeros((0, 4)))
    table.iloc[8, 1] = -np.inf
    with pytest.raises(UserError, match="The face feature of row clip 8 holds -inf: set that item aside"):
        finite(face_feature=table)
