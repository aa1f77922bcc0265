"""What learns from a few hundred pairs alone: nobody's own face is known to what speaks of their voice."""

import numpy as np
import pytest
import torch

from s2f.data.sources.published import Scratch
from s2f.heads import contrastive, ridge
from s2f.metrics import paired
from s2f.models.linear_decoder import LinearDecoder
from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

SIZE = 32
QUICK = Scratch(
    folder="", seed=1, replicates=1, folds=4, model="small", seconds=1.0, steps=60, batch=16, rate=0.003,
    validate_every=10, checkpoint_minutes=1.0, precision="float32", threads=1,
)  # fmt: skip


def others_faces_only(say, faces, fold):
    """`say(faces)`, having checked that no fold's answer about other faces depends on the faces of that fold."""
    said = say(faces)
    inside = fold == 0
    changed = faces.copy()
    changed[inside] = faces[inside][::-1] + 1
    again = say(changed)
    rows = (said[inside][:, ~inside], again[inside][:, ~inside]) if said.shape[0] == said.shape[1] else (
        said[inside], again[inside]
    )  # fmt: skip
    assert np.array_equal(*rows) and not np.array_equal(said, again)
    return said


def test_contrastive_maps_find_what_a_voice_tells(rng):
    """Loud directions of the faces that no voice tells of: cosine is led astray, the maps learn to leave them out."""
    voice = rng.normal(size=(160, 6))
    faces = np.hstack([voice + 0.7 * rng.normal(size=voice.shape), 4 * rng.normal(size=(160, 6))])
    fold = ridge.folds(np.arange(160), 4, seed=0)

    def say(faces):
        return contrastive.contrastive_scores([voice], faces, fold, 12, [0, 40])

    plain = ridge.scores(ridge.predict([voice], faces, fold), faces, fold)
    wins = paired.ranks(others_faces_only(say, faces, fold)).wins.mean()
    assert wins > 0.9 and wins > paired.ranks(plain).wins.mean() + 0.05


def test_contrastive_maps_find_other_people(rng):
    mixing = rng.normal(size=(6, 8))
    voice, faces = (part := rng.normal(size=(200, 6))), part @ mixing + 0.5 * rng.normal(size=(200, 8))
    fold = ridge.folds(np.arange(150), 4, seed=0)
    learned, others = ([voice[:150]], faces[:150], fold), ([voice[150:]], faces[150:])
    assert paired.ranks(contrastive.contrastive_elsewhere(*learned, *others, 6, [0, 20])).wins.mean() > 0.9


def test_unrelated_pairs_are_at_chance(rng):
    """Among all faces as well, where a regression, drawn to those that it knows, does worse."""
    voice, faces, fold = rng.normal(size=(160, 6)), rng.normal(size=(160, 8)), ridge.folds(np.arange(160), 4, 0)
    wins = paired.ranks(contrastive.contrastive_scores([voice], faces, fold, 8, [0, 20])).wins
    assert abs(wins.mean() - 0.5) < 4 * (1 / 12 / 160) ** 0.5  # four standard errors of a mean of uniform numbers


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

    def say(faces):
        return contrastive.from_scratch(waves, faces, fold, QUICK, **place)

    said = others_faces_only(say, faces, fold)
    assert paired.ranks(ridge.scores(said, faces, fold)).wins.mean() > 0.8
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("state.pt")}
    assert np.array_equal(say(faces), said)  # from the checkpoints: nothing is trained or written again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("state.pt")} == written
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [f"fold_{part}.csv" for part in range(4)]


@pytest.fixture
def painted(rng):
    """Faces that are linear in three numbers: one paints them, two move landmarks."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    features = rng.normal(size=(80, 3))
    mean = rng.uniform(0.2, 0.8, (68, 2)) * SIZE
    moves = 0.5 * np.stack([np.ones((68, 2)), (mean - SIZE / 2) / SIZE * 4])
    landmarks = mean + np.tensordot(features[:, 1:], moves, 1)
    textures = 0.5 + 0.3 * np.sin(6 * x + 4 * y) + 0.08 * features[:, 0, None, None] * np.cos(9 * y)
    flow = landmark_spline(torch.from_numpy(mean), SIZE) @ torch.from_numpy(landmarks - mean)
    flow = flow.mT.unflatten(2, (SIZE, SIZE)).float()
    images = warp(torch.from_numpy(textures).float()[:, None].expand(-1, 3, -1, -1), flow)
    images = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    return features, images, landmarks


def apart(drawn, images):
    return np.abs(drawn.astype(float) - images).mean()


def test_a_linear_decoder_draws_faces_that_it_has_not_seen(painted):
    features, images, landmarks = painted
    decoder = LinearDecoder.fit(features[:60], images[:60], landmarks[:60], components=5)
    drawn = decoder.draw(features[60:])
    assert drawn.shape == images[60:].shape
    # Two warps and two roundings lie between: some steps of 255, while these faces differ from their mean by many.
    assert apart(drawn, images[60:]) < 2.5 < apart(images[:60].mean(axis=0), images[60:]) / 3


def test_drawn_faces_are_of_other_peoples_decoders(painted):
    features, images, landmarks = painted
    fold = ridge.folds(np.arange(80), 4, seed=0)

    def say(faces):
        said = {"as they are": features, "alike": np.zeros_like(features)}
        return contrastive.drawn(said, faces, images, landmarks, fold, components=5)

    drawn = say(features)
    others_faces_only(lambda faces: say(faces)["as they are"].reshape(80, -1), features, fold)
    assert apart(drawn["as they are"], images) < 2.5
    one, *more = drawn["alike"][fold == 0]
    assert all(np.array_equal(one, other) for other in more)


def test_too_few_faces_is_one_sentence(painted):
    features, images, landmarks = painted
    with pytest.raises(UserError, match="10 faces are too few for 10 components"):
        LinearDecoder.fit(features[:10], images[:10], landmarks[:10], components=10)
