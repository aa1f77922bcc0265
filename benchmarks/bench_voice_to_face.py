"""CPU time from a WAV file of 6 s to the face that goes with the voice."""

import time

import numpy as np
import pytest
import soundfile
import torch

from s2f.models import face_decoder, voice_encoder
from s2f.models.inference import Speech2Face
from s2f.models.limits import Limits
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
def system():
    """Untrained models cost what trained ones do."""
    torch.manual_seed(0)
    decoder = face_decoder.FaceDecoder(face_decoder.SMALL)
    decoder.set_mean(torch.rand(68, 2) * decoder.config.size)
    sizes = voice_encoder.SMALL.model_copy(update={"feature_dim": decoder.config.feature_dim})
    encoder = voice_encoder.for_inference(voice_encoder.VoiceEncoder(sizes), torch.float32)
    facts = {"seconds": 3.0, "mean_feature": [0.0] * sizes.feature_dim}
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(1000, sizes.feature_dim)).astype(np.float32)
    limits = Limits.fit(predicted, np.arange(1000) // 2, predicted, rng.normal(size=(1000, 5)), np.full(1000, 9.0))
    return Speech2Face(encoder, decoder.eval(), facts, limits)


@pytest.mark.benchmark(group="voice to face", timer=time.process_time, warmup=True, min_rounds=20)
def test_voice_to_face(benchmark, system, recording):
    face = benchmark(lambda: system.face(speech.read(recording, 30)))
    assert face.image.shape == (64, 64, 3)
