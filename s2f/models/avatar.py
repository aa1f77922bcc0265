"""The predicted face as an avatar (Fig. 13 of the paper).

The authors showed the drawn face to a closed phone app. Here four traits are read off the face as numbers, a rule turns
them into the options of an avatar, and DiceBear draws it offline, the same picture each time. Everything else about the
avatar is the same for everybody.
"""

import io
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
import resvg_py
from dicebear import Avatar, Style
from jaxtyping import UInt8
from PIL import Image, ImageColor
from sklearn.pipeline import Pipeline

from s2f.metrics import attributes, bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.similarity import Features
from s2f.signal import colour
from s2f.study.paths import UserError


class Choice(NamedTuple):
    """One choice of an option: the value of the trait that it stands for, and its settings of DiceBear."""

    number: float
    settings: Mapping[str, str | int]


class Option(NamedTuple):
    """An option of the avatar: the column of the people table that determines it, and its choices by name."""

    trait: str
    choices: Mapping[str, Choice]


STYLE = "toon-head"  # CC BY 4.0: whoever shows an avatar shows `credit()` as well
SKINS = ("#f1c3a5", "#c68e7a", "#b98e6a", "#a36b4f", "#5c3829")  # the palette of the style
TONES = colour.typology_angle(colour.lab(np.array([ImageColor.getrgb(skin) for skin in SKINS], np.uint8)))
OPTIONS = {
    "skin": Option(
        "face_ita",
        {skin: Choice(tone, {"skinColor": skin[1:]}) for skin, tone in zip(SKINS, TONES.tolist(), strict=True)},
    ),
    "hair colour": Option(  # brown stands for any colour: only its greying is in a voice
        "face_grey",
        {
            "brown": Choice(0.0, {"hairColor": "724133"}),
            "greying": Choice(0.5, {"hairColor": "947c73"}),
            "grey": Choice(1.0, {"hairColor": "b5b5b5"}),
        },
    ),
    "hair length": Option(
        "face_hair_len",
        {
            "short": Choice(0.1, {"rearHairProbability": 0}),
            "shoulder": Choice(0.5, {"rearHairProbability": 100, "rearHairVariant": "shoulderHigh"}),
            "long": Choice(0.9, {"rearHairProbability": 100, "rearHairVariant": "longStraight"}),
        },
    ),
    "beard": Option(
        "face_beard",
        {
            "none": Choice(0.0, {"beardProbability": 0}),
            "full": Choice(0.35, {"beardProbability": 100, "beardVariant": "fullBeard"}),
        },
    ),
}
TRAITS = [option.trait for option in OPTIONS.values()]
# What no voice tells, or the style cannot show. ToonHead has no glasses and one shape of head.
NEUTRAL = {
    "backgroundColor": "f0f0f0",
    "clothesColor": "545454",
    "clothesVariant": "tShirt",
    "eyebrowsVariant": "neutral",
    "eyesVariant": "wide",
    "hairVariant": "sideComed",
    "mouthVariant": "smile",
}


def readers(seen: Features, people: pd.DataFrame) -> dict[str, Pipeline]:
    """Regressions that read each trait of `OPTIONS` off face features.

    `seen` are features of the true faces of training speakers, `people` their rows of the people table.
    """
    return {trait: attributes.attribute_classifier(seen, people[trait]) for trait in TRAITS}


def read(judges: Mapping[str, Pipeline], features: Features) -> pd.DataFrame:
    """The traits of faces as numbers, a column each."""
    return pd.DataFrame({trait: judge.predict(features) for trait, judge in judges.items()})


def choose(traits: pd.DataFrame) -> pd.DataFrame:
    """The rule: for each row and each option the name of the choice whose value is nearest to the trait.

    `traits` has the columns of the people table that `OPTIONS` names, true or from `read`; UserError if one is missing
    or not a number.
    """
    chosen = {}
    for name, (trait, choices) in OPTIONS.items():
        if trait not in traits or traits[trait].isna().any():
            raise UserError(f"The trait {trait!r} has no number for somebody: read it off every face.")
        numbers = np.array([choice.number for choice in choices.values()])
        nearest = np.abs(traits[trait].to_numpy(float)[:, None] - numbers).argmin(axis=1)
        chosen[name] = np.array(list(choices))[nearest]
    return pd.DataFrame(chosen, index=traits.index)


def settings(chosen: Mapping[str, str]) -> dict[str, str | int]:
    """All settings of DiceBear for a row of `choose`; nothing is left to chance."""
    options = dict(NEUTRAL)
    for name, option in OPTIONS.items():
        if chosen[name] not in option.choices:
            raise UserError(f"The {name} {chosen[name]!r} is no choice; use one of {', '.join(option.choices)}.")
        options |= option.choices[chosen[name]].settings
    return options


@cache
def style() -> Style:
    """The style of all avatars, from the installed package."""
    return Style.from_json(files("dicebear_styles").joinpath(f"{STYLE}.json").read_text(encoding="utf-8"))


def credit() -> str:
    """Who drew the style and under which licence, as its definition puts it."""
    return style().meta().license().text()


def svg(chosen: Mapping[str, str]) -> str:
    """The avatar of a row of `choose`, with its licence in the metadata; equal rows make equal text."""
    return Avatar(style(), settings(chosen)).to_string()


def pictures(chosen: pd.DataFrame, size: int = 192) -> UInt8[np.ndarray, "avatars {size} {size} 3"]:
    """The avatars of a table of `choose` as pixels."""
    drawn = [
        resvg_py.svg_to_bytes(svg_string=svg(row), width=size, height=size, skip_system_fonts=True)
        for row in chosen.to_dict("records")
    ]
    return np.stack([np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in drawn])


def together(chosen: pd.DataFrame) -> pd.DataFrame:
    """The table of `choose` with another column, `all four`, that names the whole avatar."""
    return chosen.assign(**{"all four": chosen.agg(", ".join, axis=1)})


def reading(found: pd.DataFrame, true: pd.DataFrame, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Pearson r of traits read off faces with the true ones in the same columns, a row for each trait."""
    rows = {name: bootstrap.correlation(found[name], true[name], speakers, resampling).row() for name in found}
    return pd.DataFrame(rows).T.rename_axis("trait")


def agreement(
    true: pd.DataFrame, predicted: pd.DataFrame, best: pd.DataFrame, speakers: Column, resampling: Resampling
) -> pd.DataFrame:
    """How often two avatars of a clip make the same choice, a row for each option (column).

    `true` are the choices from the true face, `predicted` those from the voice, `best` those of the best possible
    observer (`ceiling`); `chance` is the commonest choice, given to everybody.
    """
    rows = {
        name: attributes.agreement(true[name], predicted[name], speakers, resampling, best[name]).loc["overall"]
        for name in true
    }
    return pd.DataFrame(rows).T.rename_axis("option")
