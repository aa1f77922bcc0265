"""Judges find faces that show who is meant, on invented faces."""

import numpy as np
import pandas as pd
import pytest
from out_of_fold import out_of_fold

from s2f.heads import ridge
from s2f.metrics import bootstrap, paired
from s2f.published import judges

QUICK = bootstrap.Resampling(seed=3, replicates=200)


def test_components_judge_faces_out_of_fold(rng):
    canonical = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 40))
    fold = ridge.folds(np.arange(80), 4, seed=0)
    near, unrelated = canonical + 0.5 * rng.normal(size=canonical.shape), rng.normal(size=canonical.shape)

    def judge(faces):
        return judges.components(near, faces, fold, 6)

    # The judge of a fold's rows learns from the canonical faces of the other folds.
    assert paired.ranks(out_of_fold(judge, canonical, fold)).wins.mean() > 0.95
    wins = paired.ranks(judges.components(unrelated, canonical, fold, 6)).wins
    assert abs(wins.mean() - 0.5) < 4 * (1 / 12 / 80) ** 0.5  # four standard errors of a mean of uniform numbers


def test_systems_are_compared_by_every_judge(rng):
    systems = {judge: {name: rng.normal(size=(40, 40)) for name in ("original", "ours")} for judge in ("one", "two")}
    strata = pd.DataFrame({"sex": np.repeat(["F", "M"], 20)})
    matching, recall = judges.compare(systems, "original", 20, QUICK, strata)
    assert len(matching) == 2 * 2 * 2 and len(recall) == 2 * 4 * 2
    one = paired.matching(systems["two"], "original", QUICK, strata)
    pd.testing.assert_frame_equal(matching.query("judge == 'two'")[list(one)].reset_index(drop=True), one)


def test_squares_of_pixels_are_averaged(rng):
    pictures = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = [[p[i : i + 2, j : j + 2].mean(axis=(0, 1)) for i in (0, 2) for j in (0, 2)] for p in pictures]
    np.testing.assert_allclose(judges.flat(pictures), np.reshape(expected, (2, -1)), rtol=1e-6)


def test_likeness_falls_with_noise(rng):
    pytest.importorskip("skimage")
    canonical = rng.integers(60, 200, (12, 16, 16, 3)).astype(np.uint8)
    noise = rng.integers(-10, 11, canonical.shape)
    tables = [
        judges.likeness((canonical + times * noise).astype(np.uint8), canonical, np.arange(12), QUICK).set_index("what")
        for times in (1, 5)
    ]
    assert (tables[0]["value"] > tables[1]["value"]).all()
    # 10 log10(255^2 / variance), the variance of 21 integers being (21^2 - 1) / 12
    assert tables[0].at["psnr", "value"] == pytest.approx(10 * np.log10(255**2 * 12 / 440), abs=0.3)


def test_frechet_distance_of_normal_distributions(rng):
    true = rng.normal(size=(4000, 3))
    assert judges.frechet(true, true) == pytest.approx(0, abs=1e-6)
    # Means 2 apart, and spreads of 1 and 3: 4 + 3 (1 + 9 - 2 * 3). Sampling errors are a few percent.
    moved = 3 * rng.normal(size=(4000, 3)) + (2, 0, 0)
    assert judges.frechet(moved, true) == pytest.approx(4 + 3 * 4, rel=0.08)
