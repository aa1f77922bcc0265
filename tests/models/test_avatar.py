"""Avatars: the written rule, colours, the same picture each time, and how agreement is counted."""

import numpy as np
import pandas as pd
import pytest
import torch
from dicebear import Avatar

from s2f.metrics import bootstrap
from s2f.models import avatar, avatars
from s2f.plots import cartoons
from s2f.signal import colour
from s2f.study.paths import UserError
from s2f.synthetic.skin import skin_colour

QUICK = bootstrap.Resampling(seed=1, replicates=300)
SOMEBODY = {"skin": "#a36b4f", "hair colour": "grey", "hair length": "long", "beard": "none"}


def people(n, rng):
    """Traits over more than the range of each option."""
    return pd.DataFrame(
        {
            "face_ita": rng.uniform(-80, 80, n),
            "face_grey": rng.uniform(-0.3, 1.3, n),
            "face_hair_len": rng.uniform(-0.2, 1.2, n),
            "face_beard": rng.uniform(-0.2, 0.7, n),
        }
    )


def test_a_trait_takes_the_nearest_choice(rng):
    traits = people(200, rng)
    chosen = avatars.choose(traits)
    for name, (trait, choices) in avatar.OPTIONS.items():
        plain = [min(choices, key=lambda choice: abs(choices[choice].number - value)) for value in traits[trait]]
        assert chosen[name].tolist() == plain
        assert set(plain) == set(choices), "each choice is somebody's"


def test_the_number_of_a_choice_makes_that_choice():
    for name, (trait, choices) in avatar.OPTIONS.items():
        traits = pd.DataFrame({other: np.zeros(len(choices)) for other in avatar.TRAITS})
        traits[trait] = [choice.number for choice in choices.values()]
        assert avatars.choose(traits)[name].tolist() == list(choices)


def test_the_angle_of_a_skin_colour_is_that_of_the_world():
    for angle in (-20.0, 5.0, 30.0, 45.0):
        linear = skin_colour(torch.tensor([[angle]])).reshape(3).numpy()
        encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
        found = colour.typology_angle(colour.lab(np.round(encoded * 255).astype(np.uint8)))
        assert found == pytest.approx(angle, abs=1.5)  # 8 bits a channel


def test_the_palette_is_that_of_the_style_from_light_to_dark():
    assert set(avatar.SKINS) == set(avatar.style().colors()["skin"].values())
    assert list(avatar.TONES) == sorted(avatar.TONES, reverse=True)


def test_nothing_about_an_avatar_is_left_to_chance():
    told = avatar.settings(SOMEBODY)
    drawn = [Avatar(avatar.style(), told | {"seed": seed}).to_json()["options"] for seed in "abcdefgh"]
    assert all(options == drawn[0] for options in drawn)
    assert avatar.svg(SOMEBODY) == avatar.svg(dict(SOMEBODY))


def test_each_option_shows_and_the_licence_goes_along():
    everybody = [SOMEBODY | {name: choice} for name, option in avatar.OPTIONS.items() for choice in option.choices]
    different = pd.DataFrame(everybody).drop_duplicates()
    shown = avatars.pictures(different, size=48)
    assert shown.shape == (len(different), 48, 48, 3) and shown.dtype == np.uint8
    assert len({picture.tobytes() for picture in shown}) == len(different)
    np.testing.assert_array_equal(shown, avatars.pictures(different, size=48))
    assert "CC BY 4.0" in avatar.svg(SOMEBODY) and "CC BY 4.0" in avatar.credit()


def test_what_cannot_be_shown_is_refused(rng):
    with pytest.raises(UserError, match="'face_beard' has no number"):
        avatars.choose(people(3, rng).drop(columns="face_beard"))
    with pytest.raises(UserError, match="'face_ita' has no number"):
        avatars.choose(people(3, rng).assign(face_ita=[1.0, np.nan, 2.0]))
    with pytest.raises(UserError, match="beard 'blue' is no choice; use one of none, full"):
        avatar.settings(SOMEBODY | {"beard": "blue"})


def test_readers_read_numbers_off_features(rng):
    features, traits = rng.standard_normal((400, 6)), people(400, rng)
    for column, trait in enumerate(avatar.TRAITS):
        traits[trait] = 2 * features[:, column] + 1
    judges = avatars.readers(features[:300], traits[:300])
    np.testing.assert_allclose(avatars.read(judges, features[300:]), traits[300:], atol=0.05)


def test_reading_finds_a_planted_correlation(rng):
    true = people(600, rng)
    noisy = true + true.std().to_numpy() * rng.standard_normal(true.shape)
    found = avatars.reading(noisy, true, np.arange(600), QUICK)
    assert ((found["low"] < np.sqrt(0.5)) & (np.sqrt(0.5) < found["high"])).all()


def test_agreement_counts_what_two_avatars_share(rng):
    speakers = np.repeat(np.arange(300), 2)
    true = avatars.together(avatars.choose(people(600, rng)))
    predicted = true.copy()
    wrong = rng.random(600) < 0.4
    predicted.loc[wrong, "beard"] = true.loc[wrong, "beard"].map({"none": "full", "full": "none"})
    predicted = avatars.together(predicted.drop(columns="all four"))
    found = avatars.agreement(true, predicted, true, speakers, QUICK)
    assert found.loc["skin", "value"] == 1 and (found["ceiling"] == 1).all()
    assert found.loc["beard", "value"] == found.loc["all four", "value"] == pytest.approx(1 - wrong.mean())
    assert found.loc["beard", "chance"] == true["beard"].value_counts(normalize=True).max()


def test_shuffled_avatars_agree_by_chance_only(rng):
    true = avatars.choose(people(2000, rng))
    shuffled = true.sample(frac=1, random_state=3).reset_index(drop=True)
    found = avatars.agreement(true, shuffled, true, np.arange(2000), QUICK)
    by_luck = [(true[name].value_counts(normalize=True) ** 2).sum() for name in true]
    assert ((found["low"] - 0.02 < by_luck) & (by_luck < found["high"] + 0.02)).all()


def test_figures_say_whose_style_it_is_and_what_chance_does(rng):
    chosen = avatars.choose(people(3, rng))
    fig = cartoons.avatars({"avatar": avatars.pictures(chosen, size=48)}, list("abc"), avatar.credit())
    assert fig.get_supxlabel() == avatar.credit() and len(fig.axes) == 3
    true = avatars.choose(people(60, rng))
    fig = cartoons.agreement(avatars.agreement(true, true, true, np.arange(60), QUICK))
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == [f"{name}  (n = 60)" for name in true]
    assert {text.get_text() for text in fig.legends[0].get_texts()} >= {"chance", "ceiling"}
