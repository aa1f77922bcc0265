"""CPU time from a WAV file of 6 s to the face that goes with the voice, on one thread; at most 30 ms."""

import time

import numpy as np
import pytest
import soundfile
import torch

from s2f import audio, face_decoder, voice_encoder
from s2f.predict import Speech2Face


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 6 * audio.SAMPLE_RATE), audio.SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def system():
    """Untrained models cost what trained ones do."""
    torch.manual_seed(0)
    decoder = face_decoder.FaceDecoder(face_decoder.SMALL)
    decoder.set_mean(torch.rand(68, 2) * decoder.config.size)
    facts = {"seconds": 3.0, "mean_feature": [0.0] * voice_encoder.SMALL.feature_dim}
    encoder = voice_encoder.for_inference(voice_encoder.VoiceEncoder(voice_encoder.SMALL), torch.float32)
    return Speech2Face(encoder, decoder.eval(), facts)


@pytest.mark.benchmark(
    group="voice to face from a 6 s WAV", timer=time.process_time, warmup=True, min_rounds=20
)
def test_voice_to_face(benchmark, system, recording):
    face = benchmark(lambda: system.face(audio.read(recording)))
    assert face.image.shape == (64, 64, 3)
    assert benchmark.stats.stats.median <= 0.030
