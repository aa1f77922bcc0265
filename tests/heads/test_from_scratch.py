"""The paper's network trained on few pairs: it learns, goes on from its checkpoint, and refuses crops too long."""

import numpy as np
import pytest
import torch
from out_of_fold import out_of_fold

from s2f.heads import from_scratch, ridge
from s2f.heads.settings import Training
from s2f.metrics import paired
from s2f.study.paths import UserError

QUICK = Training(
    seed=1, model="small", seconds=1.0, steps=60, batch=16, rate=0.003,
    validate_every=10, checkpoint_minutes=1.0, precision="float32", threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def voices():
    """Tones, whose pitch a face shows in its first two numbers."""
    rng = np.random.default_rng(7)
    pitch = rng.uniform(0, 1, 60)
    time = np.arange(18_000) / 16_000
    tones = np.sin(2 * np.pi * (200 + 3000 * pitch[:, None]) * time) + 0.1 * rng.normal(size=(60, len(time)))
    faces = np.column_stack([np.cos(3 * pitch), np.sin(3 * pitch), 0.1 * rng.normal(size=(60, 2))])
    return (6000 * tones).astype(np.int16), faces


def test_from_scratch_learns_and_goes_on_where_it_was(voices, tmp_path):
    waves, faces = voices
    fold = ridge.folds(np.arange(60), 4, seed=0)
    place = {"checkpoint": tmp_path / "kept", "logs": tmp_path / "logs", "device": torch.device("cpu")}

    def predict(faces):
        return from_scratch.predict(waves, faces, fold, QUICK, **place)

    predicted = out_of_fold(predict, faces, fold)
    assert paired.ranks(ridge.scores(predicted, faces, fold)).wins.mean() > 0.8
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("state.pt")}
    assert np.array_equal(predict(faces), predicted)  # from the checkpoints: nothing is trained or written again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("state.pt")} == written
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [f"fold_{part}.csv" for part in range(4)]


def test_a_crop_longer_than_the_recordings_is_one_sentence(voices, tmp_path):
    waves, faces = voices
    long = QUICK.model_copy(update={"seconds": 2.0})
    with pytest.raises(UserError, match="crop of 2 s is longer than the recordings of 1.125 s"):
        from_scratch.predict(
            waves, faces, np.arange(60) % 4, long, checkpoint=tmp_path, logs=tmp_path, device=torch.device("cpu")
        )
