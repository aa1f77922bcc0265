"""A voice chosen in each of three ways gets its face; what is no voice gets a sentence."""

import io

import numpy as np
import pytest
import soundfile
import tiny_models

from s2f.app import page, pieces, voice
from s2f.signal import audio, speech
from s2f.study.paths import Study, UserError


def wav(wave):
    file = io.BytesIO()
    soundfile.write(file, wave, audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose own model and one of real voices are made, and nothing else."""
    root = tmp_path_factory.mktemp("study")
    for folder in (root / "models", root / "studies" / "real" / "models"):
        folder.mkdir(parents=True)
    tiny_models.network(root / "models")
    tiny_models.regression(root / "studies" / "real" / "models")
    return Study(root)


def shown(box):
    """All text of the widgets in a box."""
    return getattr(box, "value", "") + " ".join(map(shown, getattr(box, "children", ())))


def test_bytes_of_a_sound_file_are_read_as_the_file_is(tmp_path, spoken):
    sound = wav(spoken(4.0))
    (tmp_path / "voice.wav").write_bytes(sound)
    assert np.array_equal(voice.speech_in(sound, "voice.wav"), speech.read(tmp_path / "voice.wav", 30))


@pytest.mark.parametrize(
    "sound, sentence",
    [
        (b"", "letter.txt is not audio"),
        (b"Dear Sir or Madam", "letter.txt is not audio"),
        (wav(np.zeros(3 * audio.SAMPLE_RATE)), "No speech was found in letter.txt, which is silent"),
    ],
)
def test_what_is_no_voice_is_refused_by_its_name(sound, sentence):
    with pytest.raises(UserError, match=sentence):
        voice.speech_in(sound, "letter.txt")


def test_too_little_speech_is_refused(spoken):
    with pytest.raises(UserError, match=r"s of speech was found in short.wav|No speech was found in short.wav"):
        voice.speech_in(wav(spoken(4.0)[:6400]), "short.wav")


def test_paths_may_be_quoted_have_a_tilde_or_begin_at_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "voice.wav").touch()
    for text in (f"  '{tmp_path}/voice.wav' ", '"~/voice.wav"', "voice.wav"):
        assert voice.located(text, tmp_path) == tmp_path / "voice.wav"
    assert str(voice.located("nowhere.wav", tmp_path)) == "nowhere.wav"


def test_the_page_offers_every_model_and_waits_for_a_real_voice(study):
    made = page.Page(study)
    learned_from = ["the voices and faces of 60 people of a synthetic world", "the voices and faces of 60 real people"]
    assert list(made.models.options) == learned_from and made.models.value == study.root / "studies" / "real" / "models"
    assert made.chosen is None and page.NO_VOICE in shown(made.face)


def test_a_voice_gets_its_face_by_the_chosen_model_and_another_voice_another(study, spoken):
    made = page.Page(study)
    assert made.take("voice.wav", wav(spoken(5.0))).endswith(" s of speech")
    first = shown(made.face)
    assert first.count("data:image/png") == 5 and "learned from the voices and faces of 60 real people" in first
    made.models.value = study.models
    assert "learned from the voices and faces of 60 people of a synthetic world" in shown(made.face)
    assert "No speech was found in silence.wav" in made.take("silence.wav", wav(np.zeros(audio.SAMPLE_RATE)))
    assert made.chosen is None and "data:image/png" not in shown(made.face)


def test_a_path_is_read_and_what_follows_the_page_sees_its_speech(study, tmp_path, spoken):
    (tmp_path / "voice.wav").write_bytes(wav(spoken(5.0)))
    made = page.Page(study, path=f"'{tmp_path}/voice.wav'")
    lengths = made.follow(lambda page: [pieces.sentences(f"{len(page.chosen.speech)} samples")])
    assert f"{len(speech.read(tmp_path / 'voice.wav', 30))} samples" in shown(lengths)
    made.path.value = "nowhere.wav"
    assert "There is no sound file nowhere.wav" in shown(lengths)


def test_without_models_there_is_a_sentence(tmp_path, spoken):
    made = page.Page(Study(tmp_path))
    made.take("voice.wav", wav(spoken(5.0)))
    assert page.NO_MODEL in shown(made.face)


def test_what_a_user_names_is_text_and_no_markup():
    assert "&lt;script&gt;" in pieces.sentences("<script>").value
    assert "<b>" not in pieces.faces({"<b>": np.zeros((4, 4, 3), np.uint8)}).value
