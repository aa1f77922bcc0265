"""The predicted face as an avatar (Fig. 13 of the paper).

The authors showed the drawn face to a closed phone app. Here four traits are read off the face as numbers, a rule turns
them into the options of an avatar, and DiceBear draws it offline, the same picture each time. Everything else about the
avatar is the same for everybody.
"""

import io
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import resvg_py
from dicebear import Avatar, Style
from jaxtyping import UInt8
from PIL import Image, ImageColor

from s2f.models.readers import Readers
from s2f.models.speech2face import Face
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
READERS = "avatar.safetensors"  # of a synthetic world, in the folder of models
GREY_FROM, GREY_AT = 35.0, 70.0  # apparent ages (years) at which hair is brown, and grey
LENGTHS = (0.1, 0.9)  # of hair, as it goes with apparent sex: of a man, of a woman
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


def choose(traits: Mapping[str, float]) -> dict[str, str]:
    """The rule: for each option the name of the choice whose value is nearest to the trait.

    `traits` has the columns of the people table that `OPTIONS` names, true or read off a face; UserError if one is
    missing or not a number.
    """
    chosen = {}
    for name, (trait, choices) in OPTIONS.items():
        number = traits.get(trait, np.nan)
        if not np.isfinite(number):
            raise UserError(f"The trait {trait!r} has no number for somebody: read it off every face.")
        chosen[name] = min(choices, key=lambda choice: abs(choices[choice].number - number))
    return chosen


def of(face: Face, models: str | Path) -> tuple[dict[str, str], str]:
    """The row of `choose` for a face drawn from a voice, and a sentence that says what it rests on.

    Args:
        face: as `speech2face` draws it.
        models: the folder of its model. Of a synthetic world it holds readers of all traits, which the stage `cartoon`
            writes; of real people only skin tone, apparent age and apparent sex are read.

    Raises:
        UserError: if the readers are missing or something else.
    """
    if face.real:
        (tone, _), *_ = colour.angles([face.image], face.landmarks[None])
        age = face.age[0] if face.age else GREY_FROM
        female = face.female if face.female is not None else 0.0
        share = (age - GREY_FROM) / (GREY_AT - GREY_FROM)
        hair = LENGTHS[0] + female * (LENGTHS[1] - LENGTHS[0])
        traits = dict(zip(TRAITS, (face.skin[0] if face.skin else tone, share, hair, 0.0), strict=True))
        rests = (
            "It rests on skin tone, apparent age (as grey hair) and apparent sex (as length of hair), each as it goes "
            "with such voices; no beard is drawn, since none was read."
        )
    else:
        found = {trait: Readers.load(Path(models) / READERS).number(trait, face.feature) for trait in TRAITS}
        if None in found.values():
            raise UserError(f"{Path(models) / READERS} does not hold readers of an avatar: run `dvc repro cartoon`.")
        traits = {trait: reading[0] for trait, reading in found.items()}
        rests = "It rests on skin tone, grey hair, length of hair and beard, each as it goes with such voices."
    return choose(traits), rests


def described(drawn: str, text: str) -> str:
    """An SVG with a description for those who do not see it, and for whoever passes it on."""
    return re.sub(r"<svg[^>]*>", lambda tag: f"{tag.group()}<desc>{escape(text)}</desc>", drawn, count=1)


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


def picture(chosen: Mapping[str, str], size: int = 384) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The avatar of a row of `choose` as pixels."""
    png = resvg_py.svg_to_bytes(svg_string=svg(chosen), width=size, height=size, skip_system_fonts=True)
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))
