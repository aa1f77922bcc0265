"""CPU time from a WAV file of 6 s to the face that goes with the voice."""

import time

import numpy as np
import pytest
import soundfile
import torch

from s2f.models import face_decoder, inference, speech2face, voice_encoder, weights
from s2f.models.limits import Limits
from s2f.models.readers import Readers
from s2f.models.spread import Spread
from s2f.signal import speech
from s2f.signal.audio import SAMPLE_RATE
from s2f.synthetic.sentences import SENTENCES
from s2f.synthetic.speech import Espeak, Voice


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    voice = Voice("en-us", 120.0, 16.5, 150.0, 2.0, 3.0, 0)
    with Espeak() as espeak:
        wave = espeak.say(voice, " ".join(SENTENCES["en-us"][:4]), 1)
    soundfile.write(path, wave[: 6 * SAMPLE_RATE], SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Untrained models cost what trained ones do."""
    models = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    decoder = face_decoder.FaceDecoder(face_decoder.SMALL)
    decoder.set_mean(torch.rand(68, 2) * decoder.config.size)
    dim, proof = decoder.config.feature_dim, {"data_md5": "none", "code": "none"}
    encoder = voice_encoder.VoiceEncoder(voice_encoder.SMALL.model_copy(update={"feature_dim": dim}))
    weights.save(models / "voice.safetensors", **proof, encoder=encoder)
    weights.save(models / "face.safetensors", **proof, decoder=decoder)
    inference.write_facts(models, 3.0, np.zeros((2, dim), np.float32))
    inference.export(models, models)
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(1000, dim)).astype(np.float32)
    limits = Limits.fit(predicted, np.arange(1000) // 2, predicted, rng.normal(size=(1000, 5)), np.full(1000, 9.0))
    limits.save(models / speech2face.LIMITS)
    Spread.fit(predicted).save(models / speech2face.SPREAD)
    Readers.fit(predicted, {"age": predicted[:, 0]}, np.arange(1000)).save(models / speech2face.READERS)
    speech2face.write_card(models, "network", "nobody", False, 3.0)
    return speech2face.Speech2Face.load(models)


@pytest.mark.benchmark(group="voice to face", timer=time.process_time, warmup=True, min_rounds=20)
def test_voice_to_face(benchmark, system, recording):
    face = benchmark(lambda: system.face(speech.read(recording, 30)))
    assert face.image.shape == (64, 64, 3)
