"""Training: stopped anywhere it goes on to the same bits; batches are what they say; it learns."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from s2f.data import batches
from s2f.data.shards import Shards, ShardWriter
from s2f.signal.audio import SAMPLE_RATE, to_int16
from s2f.study import config, precision
from s2f.study.paths import UserError
from s2f.training import face as face_training
from s2f.training import voice as voice_training
from s2f.training.loop import _alone, cosine, exponential, fingerprint, fit

CPU = torch.device("cpu")
STEPS = 24


def toy_fit(folder, *, interrupt_at=None, kind=signal.SIGINT, pause=0.0, minutes=60.0, key="run", fail=None):
    """Train a toy with all that a resumed run can lose: batch norm, dropout, Adam, a changing weight."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 5, generator=generator)
    targets = inputs.sum(dim=1, keepdim=True).sin()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    kept = {"weight": torch.ones(())}

    def batch_of(step):
        rows = np.random.default_rng([7, step]).integers(0, 64, 16)
        return inputs[rows], targets[rows]

    def loss_of(model, step, x, y):
        time.sleep(pause)
        if step == interrupt_at:
            signal.raise_signal(kind)
        if step == 5:
            kept["weight"].fill_(0.5)
        error = ((model(x) - y) ** 2).mean()
        return {"loss": kept["weight"] * error * (torch.nan if step == fail else 1), "error": error}

    def validate(model):
        return {"loss": ((model(inputs) - targets) ** 2).mean()}

    curve = fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        steps=STEPS,
        learning_rate=cosine(0.05, STEPS),
        betas=(0.5, 0.999),
        eps=1e-4,
        seed=2,
        device=CPU,
        threads=1,
        validate_every=5,
        checkpoint=folder / "scratch",
        fingerprint=key,
        minutes=minutes,
        log=folder / "curve.csv",
        kept=kept,
    )
    return model, curve


def outcome(folder, model):
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return weights, (folder / "curve.csv").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    model, _ = toy_fit(folder)
    return outcome(folder, model)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [0, 4, 5, 12, STEPS - 1])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, uninterrupted, step, kind):
    with pytest.raises(KeyboardInterrupt, match=f"{kind.name}.*after step {step + 1} of {STEPS}; run it again"):
        toy_fit(tmp_path, interrupt_at=step, kind=kind)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_run_stopped_again_and_again_goes_on_to_the_same_bits(tmp_path, uninterrupted):
    for step in range(0, STEPS, 3):
        with pytest.raises(KeyboardInterrupt):
            toy_fit(tmp_path, interrupt_at=step)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_killed_process_loses_no_more_than_since_its_checkpoint(tmp_path, uninterrupted):
    # Saving at each step (minutes=0) and a pause in each, so that the kill lands in the middle of the run.
    program = f"import pathlib, test_train\ntest_train.toy_fit(pathlib.Path({str(tmp_path)!r}), pause=0.1, minutes=0.0)"
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        state, curve = tmp_path / "scratch" / "run" / "state.pt", tmp_path / "curve.csv"
        deadline = time.monotonic() + 60
        while not (state.exists() and curve.read_text().count("\n") >= 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    step = torch.load(state, weights_only=True)["progress"]["step"]
    assert 4 <= step < STEPS  # the row of step 5 is written just before its checkpoint
    curve.write_text(curve.read_text() + "999,0,0,0,0\n")  # a row written after the checkpoint
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_finished_run_is_not_trained_again(tmp_path, uninterrupted):
    toy_fit(tmp_path)
    (tmp_path / "curve.csv").unlink()
    model, _ = toy_fit(tmp_path, interrupt_at=0)  # no step is run, so nothing stops it
    assert outcome(tmp_path, model) == uninterrupted


def test_another_fingerprint_starts_afresh(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        toy_fit(tmp_path, interrupt_at=3)
    with pytest.raises(KeyboardInterrupt, match="after step 1 of"):
        toy_fit(tmp_path, interrupt_at=0, key="other")


def test_the_weights_are_those_of_the_best_validation(tmp_path):
    model, curve = toy_fit(tmp_path)
    assert list(curve["step"]) == [5, 10, 15, 20, STEPS]
    state = torch.load(tmp_path / "scratch" / "run" / "state.pt", weights_only=True)
    last = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    last.load_state_dict(state["model"])
    inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    targets = inputs.sum(dim=1, keepdim=True).sin()
    with torch.inference_mode():
        error, error_last = (((m.eval()(inputs) - targets) ** 2).mean().item() for m in (model, last))
    assert error == curve["val_loss"].min()
    assert error_last == curve["val_loss"].iloc[-1]


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not finite at step 10"):
        toy_fit(tmp_path, fail=7)


def test_no_checkpoint_holds_a_loss_that_is_not_finite(tmp_path, uninterrupted):
    """A fault that comes once (bad memory, say) must not be saved, or every later run would take it up again."""
    with pytest.raises(UserError, match="not finite at step 8"):
        toy_fit(tmp_path, fail=7, minutes=0.0)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_second_training_of_a_run_waits_for_the_first(tmp_path, capsys):
    entered = []

    def second():
        with _alone(tmp_path):
            entered.append("second")

    with _alone(tmp_path):  # flock parts two openings of a file as it parts two processes
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting for it to leave" not in capsys.readouterr().out:
            time.sleep(0.01)
        entered.append("first done")
    thread.join()
    assert entered == ["first done", "second"]


def test_the_caller_keeps_its_random_numbers_threads_and_signals(tmp_path):
    torch.manual_seed(3)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    )
    toy_fit(tmp_path)
    after = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    )
    assert after == before


def test_learning_rates():
    paper = exponential(1e-3, 0.95, 10_000)
    assert [paper(step) for step in (0, 9_999, 10_000, 25_000)] == [1e-3, 1e-3, 0.95e-3, 0.95**2 * 1e-3]
    fall = cosine(2.0, 10)
    assert fall(0) == 2.0 and fall(5) == pytest.approx(1.0) and 0 < fall(9) < fall(8)


def test_a_fingerprint_tells_parts_apart(tmp_path):
    (tmp_path / "a").write_text("ab")
    (tmp_path / "b").write_text("ab")
    array = np.arange(6)
    prints = [
        fingerprint("ab", "c"),
        fingerprint("a", "bc"),
        fingerprint(array),
        fingerprint(array.reshape(2, 3)),
        fingerprint(array.astype(np.int32)),
        fingerprint(1),
        fingerprint("1"),
        fingerprint(1.0),
        fingerprint(None),
        fingerprint(tmp_path / "a"),
        fingerprint(tmp_path),
        fingerprint(nn.Linear(1, 1)),
        fingerprint(nn.Linear(1, 1)),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


# The batches and the three trainings


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Speakers whose voice is a tone and whose face is a shade that goes with its frequency."""
    folder = tmp_path_factory.mktemp("world")
    draw = np.random.default_rng(0)
    clips = []
    with ShardWriter(folder, "all", 10**6) as writer:
        for speaker in range(20):
            for seconds in (1.0, 1.5):
                time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
                tone = 0.3 * np.sin(2 * np.pi * (300 + 150 * speaker) * time)
                shard, offset = writer.append(to_int16(tone + draw.normal(0, 0.003, len(time))))
                split = "val" if speaker % 5 == 4 else "train"
                clips.append((f"{speaker}-{seconds}", speaker, split, shard, offset, len(tone), 2 * speaker))
    columns = ["clip_id", "speaker_id", "split", "audio_shard", "audio_offset", "audio_samples", "face"]
    shades = np.linspace(30, 220, 20)[:, None, None, None] * np.array([1, 0.8, 0.6])
    canonical = np.broadcast_to(shades, (20, 32, 32, 3)).astype(np.uint8)
    landmarks = 16 + 10 * draw.uniform(-1, 1, (1, 68, 2)) + draw.normal(0, 0.5, (20, 1, 1))
    return SimpleNamespace(
        clips=pd.DataFrame(clips, columns=columns).astype({"face": "Int64"}),
        shards=Shards(folder),
        canonical=canonical,
        landmarks=landmarks.astype(np.float32),
        speakers=np.repeat(np.arange(20), 2),
        photos=(canonical.repeat(2, axis=0) * draw.uniform(0.95, 1.05, (40, 1, 1, 1))).astype(np.uint8),
    )


def study(folder):
    return {"checkpoint": folder / "scratch", "log": folder / "curve.csv", "device": CPU}


FACES = config.FaceModel(
    seed=2,
    encoder_steps=30,
    encoder_batch=20,
    encoder_rate=0.003,
    decoder_steps=40,
    decoder_batch=16,
    precision="float32",
    decoder_rate=0.01,
    checkpoint_minutes=60.0,
    threads=1,
)
VOICES = config.Train(
    seed=3,
    model="small",
    batch_norm=True,
    loss="paper",
    seconds=1.0,
    steps=30,
    batch=16,
    rate=0.001,
    decay=0.95,
    decay_every=20,
    beta1=0.5,
    epsilon=1e-4,
    rebalance_step=4,
    validate_every=10,
    checkpoint_minutes=60.0,
    precision="float32",
    threads=1,
)


@pytest.fixture(scope="module")
def face_models(world, tmp_path_factory):
    """Encoder and decoder, trained, the features of the photographs, and both curves."""
    folders = [tmp_path_factory.mktemp(name) for name in ("encoder", "decoder")]
    encoder = face_training.train_face_encoder(
        world.photos, world.speakers, world.canonical, world.landmarks, FACES, **study(folders[0])
    )
    with torch.inference_mode():
        features = encoder(batches.as_images(torch.from_numpy(world.photos))).numpy()
    decoder = face_training.train_face_decoder(
        features, world.speakers, world.canonical, world.landmarks, encoder, FACES, **study(folders[1])
    )
    return encoder, decoder, features, [pd.read_csv(folder / "curve.csv") for folder in folders]


def test_the_face_models_learn(face_models):
    *_, (encoder_curve, decoder_curve) = face_models
    assert encoder_curve["loss"].iloc[-1] < 0.7 * encoder_curve["loss"].iloc[0]
    assert encoder_curve["face"].iloc[-1] < encoder_curve["face"].iloc[0]
    assert decoder_curve["val_image"].iloc[-1] < 0.7 * decoder_curve["val_image"].iloc[0]
    assert {"image", "landmarks", "feature", "val_landmarks", "val_feature"} <= set(decoder_curve.columns)


def hear_faces(world, face_models, folder, start=None, chances=None, **changes):
    encoder, decoder, features, _ = face_models
    cfg, given = VOICES.model_copy(update=changes), {"start": start, "chances": chances}
    model = voice_training.train_voice_encoder(
        world.clips, world.shards, features, encoder, decoder, cfg, **study(folder), **given
    )
    return model.encoder, pd.read_csv(folder / "curve.csv")


def test_the_voice_encoder_learns_the_face_that_goes_with_a_tone(world, face_models, tmp_path):
    model, curve = hear_faces(world, face_models, tmp_path)
    # Tones are equally far apart, so unseen speakers lie between those that were heard.
    assert curve["val_degrees"].min() < 0.8 * curve["val_degrees"].iloc[0]
    assert curve["loss"].iloc[2] < curve["loss"].iloc[1]
    # The first row spans the re-balancing; from then on the new weights stay.
    assert curve["lambda2"].iloc[1] == curve["lambda2"].iloc[2] not in (200, curve["lambda2"].iloc[0])
    assert not model.training and model.config.feature_dim == face_models[2].shape[1]


@pytest.mark.parametrize(
    "changes",
    [
        *({"loss": loss} for loss in get_args(config.Loss)),
        {"batch_norm": False},
        {"precision": "bfloat16"},
    ],
)
def test_the_variants_learn(world, face_models, tmp_path, changes):
    _, curve = hear_faces(world, face_models, tmp_path, steps=60, validate_every=30, **changes)
    # The paper's loss changes its scale when it is re-balanced; its terms do not.
    term = curve["cosine"] if "cosine" in curve else curve["loss"]
    assert term.iloc[1] < term.iloc[0]


def test_a_stopped_voice_training_goes_on_to_the_same_bits(world, face_models, tmp_path, monkeypatch):
    """Stopped after re-balancing, with the weights of the loss in the checkpoint."""
    whole, _ = hear_faces(world, face_models, tmp_path / "whole", steps=8)
    gather, calls = world.shards.gather, []

    def gather_and_stop(*args):
        calls.append(args)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGTERM)
        return gather(*args)

    monkeypatch.setattr(world.shards, "gather", gather_and_stop)
    with pytest.raises(KeyboardInterrupt):
        hear_faces(world, face_models, tmp_path / "stopped", steps=8)
    monkeypatch.undo()
    resumed, _ = hear_faces(world, face_models, tmp_path / "stopped", steps=8)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert (tmp_path / "whole" / "curve.csv").read_bytes() == (tmp_path / "stopped" / "curve.csv").read_bytes()


def test_a_training_goes_on_from_given_weights(world, face_models, tmp_path):
    first, curve = hear_faces(world, face_models, tmp_path)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    still = {"steps": 1, "rate": 1e-12, "rebalance_step": 0}
    kept, _ = hear_faces(world, face_models, tmp_path, first, **still)
    for name, value in kept.state_dict().items():
        assert torch.equal(before[name], first.state_dict()[name])  # the given encoder is not trained itself
        if "norm" not in name:  # whose statistics follow the batch, not the rate
            torch.testing.assert_close(value, before[name])
    _, further = hear_faces(world, face_models, tmp_path, first, rebalance_step=0)
    assert further["val_degrees"].min() < curve["val_degrees"].iloc[0]
    assert len(list((tmp_path / "scratch").iterdir())) == 3  # runs of their own
    with pytest.raises(UserError, match="other sizes"):
        hear_faces(world, face_models, tmp_path, first, batch_norm=False)


def test_a_training_hears_only_what_has_a_chance(world, face_models, tmp_path, monkeypatch):
    train_clips = world.clips[world.clips["split"] == "train"]
    few = set(train_clips["clip_id"].iloc[:4])
    chances = pd.Series({clip: float(clip in few) for clip in train_clips["clip_id"]})
    heard, cropped = set(), voice_training.cropped

    def listening(shards, clips, *rest):
        heard.update(clips["clip_id"])
        return cropped(shards, clips, *rest)

    monkeypatch.setattr(voice_training, "cropped", listening)
    hear_faces(world, face_models, tmp_path, chances=chances, steps=3)
    assert heard == few
    with pytest.raises(UserError, match="Clip 0-1.0 has no chance"):
        hear_faces(world, face_models, tmp_path, chances=chances.drop("0-1.0"))


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


def test_a_crop_is_a_piece_of_its_clip_and_short_clips_repeat(world):
    samples, rows = int(1.2 * SAMPLE_RATE), world.clips.iloc[:8]
    crops = batches.cropped(world.shards, rows, samples, np.random.default_rng(4))
    draw = np.random.default_rng(4)
    starts = draw.integers(0, [max(n - samples, 0) for n in rows["audio_samples"]], endpoint=True)
    assert len(set(starts)) > 3
    for crop, clip, start in zip(crops, rows.itertuples(), starts, strict=True):
        wave = world.shards.clip(clip.audio_shard, clip.audio_offset, clip.audio_samples)
        np.testing.assert_array_equal(crop, np.concatenate([wave[start:], wave])[:samples])


def test_a_shifted_photograph_is_the_photograph_moved_with_its_edge_repeated(rng):
    photos = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    rows = np.array([3, 0, 0, 2, 1, 1])
    moved = batches.shifted(photos, rows, np.random.default_rng(5))
    edge = batches.SHIFT
    down, right = np.random.default_rng(5).integers(-edge, edge, (2, len(rows), 1), endpoint=True)
    for image, row, y, x in zip(moved, rows, down[:, 0] + edge, right[:, 0] + edge, strict=True):
        padded = np.pad(photos[row], ((edge, edge), (edge, edge), (0, 0)), mode="edge")
        np.testing.assert_array_equal(image, padded[y : y + 8, x : x + 8])


def test_data_that_cannot_be_validated_is_refused(world, face_models, tmp_path):
    encoder, _, features, _ = face_models
    with pytest.raises(UserError, match="Person 19 has one photograph"):
        face_training.train_face_encoder(
            world.photos[:-1], world.speakers[:-1], world.canonical, world.landmarks, FACES, **study(tmp_path)
        )
    with pytest.raises(UserError, match="too few"):
        face_training.train_face_decoder(
            features[:8],
            world.speakers[:8],
            world.canonical,
            world.landmarks,
            encoder,
            FACES,
            **study(tmp_path),
        )
    with pytest.raises(UserError, match="both splits"):
        world = SimpleNamespace(**vars(world) | {"clips": world.clips[world.clips["split"] == "train"]})
        hear_faces(world, face_models, tmp_path)


def test_face_codes_are_uncorrelated_and_fall_from_unit_variance(world):
    codes = face_training.face_codes(world.canonical, world.landmarks)
    spread = np.cov(codes[:, codes.shape[1] // 2 :].T)
    variances = np.diag(spread)
    assert variances[0] == pytest.approx(1, abs=1e-3) and (np.diff(variances) < 1e-3).all()
    np.testing.assert_allclose(spread, np.diag(variances), atol=1e-3)


def test_low_precision_is_used_where_asked_for():
    for wanted, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with precision.low_precision(CPU, wanted):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
