"""Shared by all tests: torch threads, the order of the files, and small sounds made on the spot."""

import math
import os
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

RATE = 16_000

# Where processes run tests side by side, threads would only wait for one another.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
LONGEST = ("test_chain.py", "test_official_chains.py", "test_studies.py")  # these run for minutes, so they come first
# How long an example takes is a matter of what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def rng():
    return np.random.default_rng(20190523)


@pytest.fixture
def speech_like(rng):
    """`speech_like(seconds)`: noise, -6 dB an octave, that swells four times a second; float32, peak 0.5."""

    def make(seconds):
        n = round(seconds * RATE)
        spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(np.fft.rfftfreq(n, 1 / RATE), 100)
        syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE)
        wave = np.fft.irfft(spectrum, n) * syllables
        return (0.5 * wave / np.abs(wave).max()).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def spoken():
    """`spoken(seconds, seed=1)`: what a synthetic speaker says at that length; float32, without noise."""
    from s2f.synthetic import speech

    voice = speech.Voice("en-us", 120.0, 16.5, 150.0, 2.0, 3.0, 0, snr_db=60.0)

    @cache
    def make(seconds, seed=1):
        with speech.Espeak() as espeak:
            text = " ".join(speech.SENTENCES["en-us"][seed:])
            wave = espeak.say(voice, " ".join([text] * math.ceil(seconds / 20)), seed)[: round(seconds * RATE)]
        wave = wave.astype(np.float32) / 32768
        wave.flags.writeable = False
        return wave

    return make


@pytest.fixture
def tone(tmp_path):
    """`tone("a.wav", ...)`: the path of a sound file that holds a sine, the same in every channel."""

    def make(name, hertz=440.0, seconds=1.0, rate=RATE, channels=1, peak=0.5, subtype=None):
        wave = peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
        path = tmp_path / name
        soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate, subtype)
        return path

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """`tiny.folders`: folders of models of both kinds, by name; `tiny.networks`: those of the first, in torch."""
    import tiny_models  # here, since what conftest.py imports is not checked by beartype

    folders = {kind: tmp_path_factory.mktemp(kind) / "models" for kind in ("network", "regression")}
    for folder in folders.values():
        folder.mkdir()
    networks = tiny_models.network(folders["network"])
    tiny_models.regression(folders["regression"])
    return SimpleNamespace(folders=folders, networks=networks)
