"""Inference: the right seconds are taken, batches change nothing, and files are read back."""

import numpy as np
import pandas as pd
import pytest
import torch

from s2f.data.shards import Shards, ShardWriter
from s2f.models import inference, voice_encoder, weights
from s2f.models.face_decoder import SMALL as SMALL_DECODER
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import FaceEncoder, small
from s2f.signal.audio import SAMPLE_RATE, to_int16
from s2f.signal.spectrograms import spectrograms
from s2f.study.paths import UserError

CPU = torch.device("cpu")
# Rounding of a sum of n float32 terms of size 1 is below n * 2**-24. The longest sums here are those of dense
# layers, some 2,000 terms, and five layers add up: 5 * 2000 * 2**-24 = 6e-4.
TOLERANCE = {"rtol": 0, "atol": 6e-4}


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return voice_encoder.VoiceEncoder(voice_encoder.SMALL).eval()


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    decoder = FaceDecoder(SMALL_DECODER)
    decoder.set_mean(torch.rand(68, 2) * 50 + 7)
    torch.nn.init.normal_(decoder.landmarks[-1].weight, std=0.02)
    return decoder.eval()


@pytest.fixture
def clips(tmp_path, rng):
    """Five clips from 0.5 to 8 s, as manifest rows."""
    lengths = [int(seconds * SAMPLE_RATE) for seconds in (0.5, 2.0, 3.0, 6.0, 8.0)]
    with ShardWriter(tmp_path / "audio", "test", 200_000) as writer:
        places = [writer.append(to_int16(rng.normal(0, 0.1, length))) for length in lengths]
    shards, offsets = zip(*places, strict=True)
    return pd.DataFrame({"audio_shard": shards, "audio_offset": offsets, "audio_samples": lengths})


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "audio")


def taken_plainly(shards, clip, seconds, tile_to):
    wave = shards.clip(clip.audio_shard, clip.audio_offset, clip.audio_samples)[: int(seconds * SAMPLE_RATE)]
    return np.concatenate([wave] * 12)[: int(max(seconds, tile_to) * SAMPLE_RATE)]


@pytest.mark.parametrize(("seconds", "tile_to"), [(1.0, 6.0), (3.0, 3.0), (4.0, 6.0), (6.0, 3.0)])
def test_the_first_seconds_are_taken_and_short_ones_repeated(encoder, shards, clips, seconds, tile_to):
    features = inference.VoiceModel(encoder, 2, CPU).clip_features(shards, clips, seconds, tile_to)
    for clip, feature in zip(clips.itertuples(), features, strict=True):
        wave = torch.from_numpy(taken_plainly(shards, clip, seconds, tile_to))
        with torch.inference_mode():
            np.testing.assert_allclose(feature, encoder(spectrograms(wave[None]))[0].numpy(), **TOLERANCE)


def test_batches_change_nothing(encoder, decoder, shards, clips, rng, monkeypatch):
    photographs = rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    face = inference.FaceModel(FaceEncoder(small(classes=3)), decoder, CPU)
    predicted, seen, drawn = [], [], []
    for batch in (1, 2, 5):
        monkeypatch.setattr(inference, "FACE_BATCH", batch)
        predicted.append(inference.VoiceModel(encoder, batch, CPU).clip_features(shards, clips, 3.0))
        seen.append(face.features(photographs))
        drawn.append(face.draw(predicted[0]))
    for other in (1, 2):
        np.testing.assert_allclose(predicted[other], predicted[0], **TOLERANCE)
        np.testing.assert_allclose(seen[other], seen[0], **TOLERANCE)
        # A rounding difference of a pixel can cross one half: one level of 255.
        assert np.abs(drawn[other][0].astype(int) - drawn[0][0]).max() <= 1
        np.testing.assert_allclose(drawn[other][1], drawn[0][1], rtol=0, atol=64 * TOLERANCE["atol"])


def test_recordings_in_memory_give_the_features_of_clips(encoder, shards, clips):
    voice = inference.VoiceModel(encoder, 2, CPU)
    waves = shards.gather(clips, 3 * SAMPLE_RATE)
    np.testing.assert_allclose(voice.wave_features(waves), voice.clip_features(shards, clips, 3.0), **TOLERANCE)


def test_features_of_speech_can_be_drawn(encoder, decoder, shards, clips):
    features = inference.VoiceModel(encoder, 5, CPU).clip_features(shards, clips, 3.0)
    images, landmarks = inference.draw(decoder, features, CPU)
    assert images.shape == (5, 64, 64, 3) and images.dtype == np.uint8
    assert landmarks.shape == (5, 68, 2)


def test_facts_are_read_back_and_missed_by_name(tmp_path):
    inference.write_facts(tmp_path, 3.0, np.array([[1.0, 3.0], [3.0, 5.0]], np.float32))
    assert inference.read_facts(tmp_path) == {"seconds": 3.0, "mean_feature": [2.0, 4.0]}
    with pytest.raises(UserError, match="facts.json.*dvc repro train"):
        inference.read_facts(tmp_path / "none")


def test_a_face_model_is_loaded_with_both_its_parts(decoder, tmp_path, rng):
    encoder = FaceEncoder(small(2))
    weights.save(tmp_path / "face.safetensors", data_md5="0" * 32, code="0" * 16, encoder=encoder, decoder=decoder)
    loaded = inference.FaceModel.load(tmp_path)
    photographs = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    features = loaded.features(photographs)
    np.testing.assert_allclose(features, inference.photo_features(encoder, photographs, CPU), **TOLERANCE)
    assert loaded.draw(features)[0].shape == photographs.shape


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"seconds": "long"}',
        '{"seconds": -3, "mean_feature": [1]}',
        '{"seconds": 3.0, "mean_feature": ["a"]}',
    ],
)
def test_damaged_facts_are_one_sentence(text, tmp_path):
    (tmp_path / "facts.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"facts\.json is damaged"):
        inference.read_facts(tmp_path)
