"""The front page: it draws what the networks in torch would draw, and says how far to trust it; what does not belong
together is one sentence. For both kinds of models, with invented weights."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from s2f.models import inference, speech2face
from s2f.models.speech2face import Speech2Face
from s2f.models.voice_encoder import for_inference
from s2f.signal import speech
from s2f.signal.audio import SAMPLE_RATE, fit_length
from s2f.signal.landmarks import MEASURES
from s2f.signal.spectrograms import spectrograms
from s2f.study.paths import UserError

CPU = torch.device("cpu")
each_kind = pytest.mark.parametrize("kind", ["network", "regression"])


@pytest.fixture
def folders(tiny):
    return tiny.folders


@pytest.fixture
def system(folders):
    return Speech2Face.load(folders["network"])


def test_a_face_is_that_of_the_networks_in_torch(tiny, system, spoken):
    encoder, decoder = tiny.networks
    wave = speech.isolate(spoken(5))
    face = system.face(wave)
    with torch.inference_mode():
        feature = for_inference(encoder, torch.float32)(spectrograms(torch.from_numpy(wave)[None])).numpy()
    # Five layers, sums of at most some 2,000 float32 terms of size one: 5 * 2000 * 2**-24.
    np.testing.assert_allclose(face.prediction.feature, feature[0], rtol=0, atol=6e-4)
    images, landmarks = inference.draw(decoder, face.feature[None], CPU)
    assert np.abs(face.image.astype(int) - images[0]).max() <= 1  # one rounding to 8 bits
    np.testing.assert_allclose(face.landmarks, landmarks[0], rtol=0, atol=64 * 6e-4)


@each_kind
def test_a_face_comes_with_its_uncertainty(kind, folders, spoken):
    face = Speech2Face.load(folders[kind]).face(spoken(7))
    assert face.image.shape == ((64, 64, 3) if kind == "network" else (32, 32, 3)) and face.image.dtype == np.uint8
    assert face.landmarks.shape == (68, 2)
    assert tuple(face.measures) == MEASURES
    assert all(low <= high for low, high in face.measures.values())
    assert 0 < face.prediction.halves_angle < 180
    assert face.error == (12.0, pytest.approx(max(12.0, face.prediction.halves_angle)))
    assert f"about {face.error[0]:.0f} degrees" in face.uncertainty and "differ by up to" in face.uncertainty
    assert ("apparent age" in face.traits) == (kind == "regression") and "sex" in face.traits


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


def test_of_a_long_recording_30_seconds_count(system, spoken):
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


@each_kind
def test_exaggeration_moves_the_face_but_not_the_feature(kind, folders, spoken):
    system, wave = Speech2Face.load(folders[kind]), speech.isolate(spoken(4))
    plain, strong = system.face(wave, 0), system.face(wave, exaggeration=1.4)
    np.testing.assert_array_equal(strong.feature, plain.feature)
    # The mean feature is 0 here, so the exaggerated face is that of 2.4 times the feature.
    again = system.painter.images(2.4 * plain.feature[None], 0.0)[0]
    assert np.abs(strong.image.astype(int) - again).max() <= 1
    assert (strong.landmarks != plain.landmarks).any()


def test_by_default_a_face_is_exaggerated_as_its_model_says(folders, spoken):
    system, wave = Speech2Face.load(folders["regression"]), speech.isolate(spoken(4))
    np.testing.assert_array_equal(system.face(wave).image, system.face(wave, 2).image)


@each_kind
def test_samples_are_faces_around_the_prediction_and_the_same_each_time(kind, folders, spoken):
    system, wave = Speech2Face.load(folders[kind]), speech.isolate(spoken(4))
    faces = system.samples(wave, 3)
    assert faces.shape == (3, *system.face(wave).image.shape)
    assert (faces[0] != faces[1]).any()
    np.testing.assert_array_equal(faces, system.samples(wave, 3))
    assert (faces != system.samples(wave, 3, seed=1)).any()
    narrow = dataclasses.replace(system.spread, mean=0 * system.spread.mean, deviations=0 * system.spread.deviations)
    certain = dataclasses.replace(system, spread=narrow).samples(wave, 1)
    assert np.abs(certain[0].astype(int) - system.face(wave, 0).image).max() <= 1


def test_two_people_in_a_recording_get_a_hint(system, spoken):
    near = dataclasses.replace(system.limits, two_speakers=np.array(0, np.float32))
    wave = spoken(7)
    assert "only one person speaks" in dataclasses.replace(system, limits=near).face(wave).uncertainty
    far = dataclasses.replace(system.limits, two_speakers=np.array(180, np.float32))
    assert "only one person" not in dataclasses.replace(system, limits=far).face(wave).uncertainty


@each_kind
def test_what_is_missing_damaged_or_of_another_training_is_one_sentence(kind, folders, tmp_path):
    for number, name in enumerate([*speech2face.FILES[kind], speech2face.CARD]):
        folder = tmp_path / str(number)
        shutil.copytree(folders[kind], folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-10] + b"0123456789")
        with pytest.raises(UserError, match=rf"{name} is damaged"):
            Speech2Face.load(folder)
        (folder / name).unlink()
        with pytest.raises(UserError, match=rf"There is no .*{name}"):
            Speech2Face.load(folder)
        shutil.rmtree(folder)


def test_models_of_other_sizes_do_not_go_together(folders, tmp_path):
    """Even where somebody writes a new card for them."""
    folder = tmp_path / "models"
    shutil.copytree(folders["network"], folder)
    for name in (speech2face.LIMITS, speech2face.SPREAD, speech2face.READERS):
        shutil.copy(folders["regression"] / name, folder)
    speech2face.write_card(folder, "network", "nobody", False, 3.0)
    with pytest.raises(UserError, match="different trainings"):
        Speech2Face.load(folder)


def test_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder of models"):
        Speech2Face.load(tmp_path / "file")
    with pytest.raises(UserError, match=r"There is no .*model\.json"):
        Speech2Face.load(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"kind": "network"}', "null"])
def test_a_damaged_card_is_one_sentence(text, folders, tmp_path):
    (tmp_path / speech2face.CARD).write_text(text)
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        Speech2Face.load(tmp_path)
    card = json.loads((folders["network"] / speech2face.CARD).read_text())
    for change in ({"kind": "other"}, {"crop_seconds": "long"}, {"right": {"value": 1}}, {"files": {}}):
        (tmp_path / speech2face.CARD).write_text(json.dumps(card | change))
        with pytest.raises(UserError, match=r"model\.json is damaged"):
            Speech2Face.load(tmp_path)


def test_to_draw_needs_none_of_the_slow_packages(folders, tmp_path, spoken):
    soundfile.write(tmp_path / "rec.wav", np.repeat(spoken(4), 3), 48_000)  # resampled as well
    script = f"""
import sys
from s2f import cli
for models in {[str(folder) for folder in folders.values()]}:
    out = {str(tmp_path / "face.png")!r}
    arguments = ["face", {str(tmp_path / "rec.wav")!r}, "-o", out, "--models", models, "--samples", "2"]
    cli.app(arguments, standalone_mode=False)
print(sorted({{"torch", "torchaudio", "scipy", "sklearn", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout
