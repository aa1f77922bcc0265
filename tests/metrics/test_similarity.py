"""Distances of predicted from true embeddings by their definitions."""

import numpy as np

from s2f.metrics import bootstrap, similarity

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def test_feature_similarity_has_the_known_values():
    pred, true = np.array([[3.0, 0], [0, 2.0]]), np.array([[0, 4.0], [0, 1.0]])
    found = similarity.feature_similarity(pred, true)
    assert list(found.index) == ["angle_deg", "l2", "l1", "scale"]
    np.testing.assert_allclose(found, [[45, 45], [3, 2], [4, 3], [2.5, 1.5]], atol=1e-12)


def test_duration_curve_pairs_the_durations(rng):
    speakers = np.repeat(np.arange(40), 2)
    base = 10 * rng.normal(size=80)
    found = similarity.duration_curve({6.0: base, 3.0: base + 1}, speakers, QUICK)
    assert list(found.seconds) == [3, 6]
    np.testing.assert_allclose(found.loc[0, ["versus_longest", "versus_low", "versus_high"]].astype(float), 1)
    assert found.high[0] - found.low[0] > 1
