"""The trainings of the face model and of the voice encoder: they learn, and a stopped one goes on to the same bits."""

import signal
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from s2f.data import batches
from s2f.data.shards import Shards, ShardWriter
from s2f.signal.audio import SAMPLE_RATE, to_int16
from s2f.study import config
from s2f.study.paths import UserError
from s2f.training import face as face_training
from s2f.training import voice as voice_training

CPU = torch.device("cpu")


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
    feature="small",
    weights=None,
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
    degraded=0.5,
    steps=30,
    batch=16,
    rate=0.001,
    schedule="steps",
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
