"""Batches: each follows from the seed and the step, and holds what it says."""

import numpy as np
import pandas as pd
import pytest

from s2f.data import batches
from s2f.data.shards import Shards, ShardWriter
from s2f.study.paths import UserError


def test_an_epoch_visits_each_row_once_in_an_order_of_its_own():
    epochs = [np.concatenate([batches.rows_of(4 * epoch + i, 5, 23, seed=1) for i in range(4)]) for epoch in (0, 1)]
    for rows in epochs:
        assert len(set(rows)) == 20 and set(rows) <= set(range(23))
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(batches.rows_of(7, 5, 23, seed=1), epochs[1][15:])
    assert sorted(batches.rows_of(3, 8, 6, seed=1)) == list(range(6))  # fewer rows than a batch


def test_balanced_labels_come_equally_often():
    labels = pd.Series(["a"] * 90 + ["b"] * 9 + ["c"], index=[f"clip{number}" for number in range(100)])
    chances = batches.balanced(labels)
    np.testing.assert_allclose(chances.groupby(labels).sum(), 1)
    rows = np.concatenate([batches.rows_of(step, 50, 100, 1, chances.to_numpy()) for step in range(60)])
    # Three standard errors of a third among 3,000 draws; rows of one label come alike.
    assert labels.iloc[rows].value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.026)
    assert pd.Series(rows[rows < 90]).value_counts().max() < 30
    np.testing.assert_array_equal(rows[:50], batches.rows_of(0, 50, 100, 1, 7 * chances.to_numpy()))
    with pytest.raises(UserError, match="clip99 has no label"):
        batches.balanced(labels.where(labels != "c"))


def test_a_crop_is_a_piece_of_its_clip_and_short_clips_repeat(tmp_path, rng):
    clips = [rng.integers(-99, 99, length, dtype=np.int16) for length in (100, 150, 100, 190, 300, 121, 160, 140)]
    with ShardWriter(tmp_path, "all", 10**6) as writer:
        places = [(*writer.append(clip), len(clip)) for clip in clips]
    rows = pd.DataFrame(places, columns=["audio_shard", "audio_offset", "audio_samples"])
    crops = batches.cropped(Shards(tmp_path), rows, 120, np.random.default_rng(4))
    starts = np.random.default_rng(4).integers(0, [max(len(clip) - 120, 0) for clip in clips], endpoint=True)
    assert len(set(starts)) > 3
    for crop, clip, start in zip(crops, clips, starts, strict=True):
        np.testing.assert_array_equal(crop, np.concatenate([clip[start:], clip])[:120])


def test_a_shifted_photograph_is_the_photograph_moved_with_its_edge_repeated(rng):
    photos = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    rows = np.array([3, 0, 0, 2, 1, 1])
    moved = batches.shifted(photos, rows, np.random.default_rng(5))
    edge = batches.SHIFT
    down, right = np.random.default_rng(5).integers(-edge, edge, (2, len(rows), 1), endpoint=True)
    for image, row, y, x in zip(moved, rows, down[:, 0] + edge, right[:, 0] + edge, strict=True):
        padded = np.pad(photos[row], ((edge, edge), (edge, edge), (0, 0)), mode="edge")
        np.testing.assert_array_equal(image, padded[y : y + 8, x : x + 8])
