"""Inference: the right seconds are taken, batches change nothing, and a face comes with its spread."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from s2f.data.shards import Shards, ShardWriter
from s2f.models import inference, voice_encoder, weights
from s2f.models.face_decoder import SMALL as SMALL_DECODER
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import FaceEncoder, small
from s2f.models.limits import Limits
from s2f.signal import speech
from s2f.signal.audio import SAMPLE_RATE, fit_length, spectrogram, to_int16
from s2f.signal.landmarks import MEASURES
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
            np.testing.assert_allclose(feature, encoder(spectrogram(wave[None]))[0].numpy(), **TOLERANCE)


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


@pytest.fixture(scope="module")
def limits():
    """Limits of made-up predictions about the origin, near which those of untrained weights lie."""
    rng = np.random.default_rng(3)
    predicted = rng.normal(size=(60, 128)).astype(np.float32)
    return Limits.fit(predicted, np.arange(60) // 2, predicted, rng.normal(size=(60, 5)), np.full(60, 12.0))


@pytest.fixture
def system(encoder, decoder, limits):
    return inference.Speech2Face(encoder, decoder, {"seconds": 3.0, "mean_feature": [0.0] * 128}, limits)


def test_a_face_comes_with_its_uncertainty(system, spoken):
    face = system.face(spoken(7))
    assert face.image.shape == (64, 64, 3) and face.landmarks.shape == (68, 2) and face.feature.shape == (128,)
    assert tuple(face.measures) == MEASURES
    assert all(low <= high for low, high in face.measures.values())
    assert 0 < face.prediction.halves_angle < 180
    assert face.error == (12.0, pytest.approx(max(12.0, face.prediction.halves_angle)))
    assert f"about {face.error[0]:.0f} degrees" in face.uncertainty and "differ by up to" in face.uncertainty


def test_too_little_speech_has_no_halves_and_says_so(system, spoken):
    face = system.face(spoken(2))
    assert not len(face.prediction.halves) and not face.measures and np.isnan(face.prediction.halves_angle)
    assert "give 6 s" in face.uncertainty


def test_a_voice_that_changes_has_halves_further_apart(system, spoken):
    half = speech.isolate(spoken(8))[: 3 * SAMPLE_RATE]
    same, changing = np.append(half, half), np.append(half, half[::-1] // 2)
    assert system.face(changing).prediction.halves_angle > 10 * system.face(same).prediction.halves_angle


def test_a_short_recording_is_that_recording_repeated(system, spoken):
    wave = speech.isolate(spoken(2))
    np.testing.assert_array_equal(system.face(wave).feature, system.face(fit_length(wave, 3 * SAMPLE_RATE)).feature)


def test_of_a_long_recording_30_seconds_are_heard(system, spoken):
    wave = np.resize(speech.isolate(spoken(8)), 31 * SAMPLE_RATE)
    face = system.face(wave)
    assert face.prediction.seconds == 30
    np.testing.assert_array_equal(face.feature, system.face(wave[: 30 * SAMPLE_RATE]).feature)


def test_a_raw_recording_takes_the_same_way(system, spoken):
    wave = np.append(np.zeros(SAMPLE_RATE, np.float32), np.float32(0.03) * spoken(5))
    np.testing.assert_array_equal(system.face(wave).feature, system.face(speech.isolate(wave)).feature)


def test_what_is_no_voice_gets_no_face(system, rng):
    with pytest.raises(UserError, match="No speech was found"):
        system.face(rng.normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32))


def test_a_prediction_far_outside_is_drawn_back_and_said_to_be(system, spoken):
    far = dataclasses.replace(system, limits=dataclasses.replace(system.limits, mean=system.limits.mean + 1000))
    face = far.face(spoken(4))
    assert face.outside > 1 and "drawn back towards the average" in face.uncertainty
    assert far.limits.distance(face.feature[None])[0] == pytest.approx(1, rel=1e-3)


def test_exaggeration_moves_the_face_but_not_the_feature(system, spoken):
    wave = spoken(4)
    plain, strong = system.face(wave), system.face(wave, exaggeration=1.4)
    np.testing.assert_array_equal(strong.feature, plain.feature)
    # The mean feature is 0 here, so the exaggerated face is that of 2.4 times the feature.
    images, _ = inference.draw(system.face_decoder, 2.4 * plain.feature[None], CPU)
    assert np.abs(strong.image.astype(int) - images[0]).max() <= 1
    assert (strong.landmarks != plain.landmarks).any()


def test_what_was_saved_is_loaded(system, tmp_path, spoken):
    origin = {"data_md5": "0" * 32, "code": "0" * 16}
    weights.save(tmp_path / "voice.safetensors", **origin, encoder=system.voice_encoder)
    weights.save(tmp_path / "face.safetensors", **origin, encoder=FaceEncoder(small(2)), decoder=system.face_decoder)
    inference.write_facts(tmp_path, 3.0, np.zeros((2, 128), np.float32))
    system.limits.save(tmp_path / "limits.safetensors")
    loaded, wave = inference.Speech2Face.load(tmp_path), spoken(5)
    np.testing.assert_array_equal(loaded.face(wave).image, system.face(wave).image)


def test_a_missing_model_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"voice\.safetensors: make it with `dvc repro train`"):
        inference.Speech2Face.load(tmp_path)
    for name in ("voice.safetensors", "facts.json", "limits.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"face\.safetensors: make it with `dvc repro face_model`"):
        inference.Speech2Face.load(tmp_path)


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


@pytest.mark.parametrize("models", ["no_folder", "other_size"])
def test_models_that_do_not_belong_together_are_one_sentence(models, system, tmp_path):
    origin = {"data_md5": "0" * 32, "code": "0" * 16}
    weights.save(tmp_path / "voice.safetensors", **origin, encoder=system.voice_encoder)
    weights.save(tmp_path / "face.safetensors", **origin, encoder=FaceEncoder(small(2)), decoder=system.face_decoder)
    system.limits.save(tmp_path / "limits.safetensors")
    inference.write_facts(tmp_path, 3.0, np.zeros((2, 64), np.float32))
    place = tmp_path if models == "other_size" else tmp_path / "facts.json"
    with pytest.raises(UserError, match="different trainings" if models == "other_size" else "no folder of models"):
        inference.Speech2Face.load(place)


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
