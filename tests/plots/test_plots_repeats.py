"""Figures of speakers heard again: they say what their axes are and whose results they show."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import bootstrap, consistency
from s2f.plots import repeats, style


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def angle_distributions(rng):
    return repeats.angle_distributions(consistency.segment_angles(rng.normal(size=(20, 2, 3, 4))), 20)


def language_shifts(rng):
    rows = {"kind": ["other_group"] * 2 + ["own_group"], "language": ["any", "de", "fr"], "n_speakers": [48, 36, 12]}
    value = np.array([0.7, 0.6, 0.1])
    return repeats.language_shifts(
        pd.DataFrame(rows | {"value": value, "low": value - 0.1, "high": value + 0.1, "expected": 0.8})
    )


def strips(rng):
    about = pd.DataFrame({"speaker_id": list("aabb"), "sex": list("FFMM"), "age": [30.0, 30, 50, 50], "group": "G1"})
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    true = {name: np.full((8, 8, 3), 9, np.uint8) for name in "ab"}
    return repeats.strips(about, ["de", "hi", "hi", "de"], images, true)


def fusion_curve(rng):
    heard = rng.normal(size=(40, 1, 3)) + rng.normal(size=(40, 4, 3))
    quick = bootstrap.Resampling(seed=1, replicates=50)
    table = consistency.fused_recall(heard, heard.mean(axis=1), np.arange(40), [1, 2, 4], "l2", quick, 5, 40)
    return repeats.fusion_curve(table.assign(chance=0.1, ceiling=0.9), "true face among the first 5 of 40")


each_chart = pytest.mark.parametrize("draw", [angle_distributions, language_shifts, fusion_curve])


@each_chart
def test_charts_name_their_axes_and_say_how_many_speakers(draw, rng):
    axes = draw(rng).axes
    texts = [ax.get_title(loc="left") for ax in axes] + [label.get_text() for label in axes[0].get_yticklabels()]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)
    assert any("n = " in text for text in texts)


def test_a_strip_finds_the_face_of_each_speaker_and_name(rng):
    axes = strips(rng).axes
    assert [ax.get_title() for ax in axes[:2]] == ["F, 30, G1", "M, 50, G1"]
    assert [ax.get_ylabel() for ax in axes[::2]] == ["true face", "de", "hi"]
    assert [int(ax.images[0].get_array()[0, 0, 0]) for ax in axes] == [9, 9, 0, 3, 1, 2]
