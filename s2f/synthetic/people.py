"""The population of the synthetic world: a causal model of people whose faces and voices share causes.

    group -> language                      group -> skin, some shapes of the face
    sex, age -> F0, tract, breath, rate    sex, age -> shapes of the face, hair, beard, wrinkles
    size -> tract length (VTL)             size -> face height and width, nose height, neck ...
    robustness -> F0                       robustness -> jaw, chin, brows, lips, eyes ...

A voice and a face share only sex, age, group and the two hidden causes `size` and `robustness`. Everything else (hair
colour, glasses, the distance between the eyes ...) is drawn independently of the voice and serves as a negative
control. `strength` scales the effect of the two hidden causes. At 1, the correlations within a sex match published
anthropometry (|r| about 0.2); at 0, only sex and age (and group, where it determines the language) are shared.

No real people were measured: ranges follow the sources cited beside the constants, and the groups and their traits are
invented.
"""

import numpy as np
import pandas as pd
import torch

from s2f.study.config import World
from s2f.study.paths import UserError
from s2f.synthetic.head import PARAMETERS

GROUPS = ("G1", "G2", "G3", "G4")
AGE_RANGE = (18.0, 80.0)  # years; adults only, because the head model does not cover children
AGE_BANDS = ((18, 35), (35, 50), (50, 65), (65, 81))  # years; [lower, upper)
SEXES = ("F", "M")
SPLITS = ("train", "val", "test", "face")

# Home languages of each group; a speaker of any other language is "mismatched" (paper, Fig. 11).
HOME_LANGUAGES = {"G1": ("en-us", "de"), "G2": ("cmn",), "G3": ("hi",), "G4": ("es", "fr")}
LANGUAGES = tuple(language for group in GROUPS for language in HOME_LANGUAGES[group])

# Voice. F0 by age: Shipp & Hollien 1972 (men 120 -> 107 -> 146 Hz), Nishio & Niimi 2008 (women fall with age);
# spread within a sex 2.5 semitones; tract length 16.9 and 14.1 cm after Goldstein 1980, about 5 % spread.
F0_AGES = (18.0, 45.0, 80.0)
F0_HZ = {"F": (214.0, 202.0, 186.0), "M": (121.0, 108.0, 138.0)}
F0_SD_SEMITONES = 2.5
VTL_CM = {"F": (14.1, 0.65), "M": (16.9, 0.75)}
# Standard deviation (years) of the difference between vocal age and true age. Listeners' mean absolute error is 9.8
# years (Huckvale & Webb 2015), which corresponds to a standard deviation of 12.
VOCAL_AGE_SD = 12.0

# Correlation of each voice trait and each face parameter with its hidden cause, at strength 1. The product of two
# loadings is the correlation between the face parameter and the voice trait, 0.1 to 0.25. Sources: Pisanski 2014
# (formants explain up to 10 % of the variance of stature within a sex, F0 under 2 %); stature correlates with face
# height at r = .41 to .46, and less with breadths.
VOICE_LOADING = {"vtl": 0.45, "f0": -0.40}
FACE_LOADING = {
    "size": {"face_h": 0.55, "face_w": 0.45, "nose_h": 0.50, "neck_w": 0.45, "mouth_w": 0.40, "ulip_h": 0.40,
             "head_w": 0.40},
    "robustness": {"jaw_w": 0.50, "chin_w": 0.50, "nose_w": 0.40, "brow_t": 0.45, "brow_ridge": 0.50, "brow_gap": -0.40,
                   "eye_h": -0.40, "verm_u": -0.40, "verm_l": -0.40},
}  # fmt: skip

# Group traits: mean skin tone (individual typology angle, degrees) and offsets in standard deviations. Invented.
GROUP_ITA = {"G1": 48.0, "G2": 30.0, "G3": 4.0, "G4": -36.0}
ITA_SD = 7.0
GROUP_OFFSET = {
    "G1": {"nose_prot": 0.4, "bridge_h": 0.4},
    "G2": {"eye_tilt": 1.0, "lid": -1.0, "bridge_h": -0.8, "cheek": 0.7, "face_w": 0.4},
    "G3": {"brow_t": 0.6, "eye_h": 0.5, "nose_prot": 0.5},
    "G4": {"nose_w": 1.0, "verm_u": 0.8, "verm_l": 0.8, "bridge_h": -0.5},
}
# Relative change of a distance between ages 22 and 85 (lips thin, the upper lip lengthens, lids droop).
AGEING = {
    "verm_u": -0.40,
    "verm_l": -0.30,
    "eye_h": -0.20,
    "ulip_h": 0.15,
    "brow_gap": -0.08,
    "nose_w": 0.06,
    "nose_h": 0.03,
}
# Factor on the anthropometric spread of the face parameters that share a cause with the voice; without it, their
# differences would not be visible in 64 pixels of 3 mm. It does not affect correlations.
VISIBLE_SPREAD = 1.5
SET_APART = (
    "age",
    "grey",
    "ita",
    "melanin",
    "beard",
    "hair_red",
)  # parameters drawn by separate rules in `_faces`


def scaled(loading: float, strength: float) -> float:
    """Scale a loading so that its signal-to-noise ratio r / sqrt(1 - r^2) is `strength` times the published one.

    Returns 0 at strength 0 and `loading` at strength 1.
    """
    ratio = strength * loading / np.sqrt(1 - loading**2)
    return float(ratio / np.sqrt(1 + ratio**2))


def mean_f0(sex: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Mean F0 (Hz, shape (n,)) given sex ("F" or "M") and age (years), both of shape (n,)."""
    return np.where(sex == "F", np.interp(age, F0_AGES, F0_HZ["F"]), np.interp(age, F0_AGES, F0_HZ["M"]))


def vtl_moments(sex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of vocal-tract length (cm) given sex; all of shape (n,)."""
    female = sex == "F"
    return np.where(female, VTL_CM["F"][0], VTL_CM["M"][0]), np.where(female, VTL_CM["F"][1], VTL_CM["M"][1])


def language_given_group(confound: float) -> pd.DataFrame:
    """P(language | group), one row per group and one column per language.

    A speaker has a home language of the group with probability `confound`, and otherwise one drawn uniformly from all
    languages. At 0, language is independent of the group; at 1, nobody speaks another group's language.
    """
    table = pd.DataFrame((1 - confound) / len(LANGUAGES), index=list(GROUPS), columns=list(LANGUAGES))
    for group, home in HOME_LANGUAGES.items():
        table.loc[group, list(home)] += confound / len(home)
    return table


def age_band(age: np.ndarray) -> np.ndarray:
    """Label of the age band, such as "35-49", of each age (years)."""
    edges = [low for low, _ in AGE_BANDS[1:]]
    labels = np.array([f"{low}-{high - 1}" for low, high in AGE_BANDS])
    return labels[np.searchsorted(edges, age, side="right")]


def everybody(world: World) -> pd.DataFrame:
    """Draw all people of a world, one split after the other; columns as in `sample`.

    The split `face` holds the people on whom the face model is trained. Its groups are equally likely, and its faces
    and voices share no hidden causes (strength 0), so that the face model learns nothing about the links that the
    voice model has to find.
    """
    linked = {"strength": world.strength, "shares": world.group_shares, "seed": world.seed}
    free = {"strength": 0.0, "seed": world.seed}
    return pd.concat(
        [
            sample(world.train_speakers, split="train", confound=world.confound, **linked),
            sample(world.val_speakers, split="val", confound=world.confound, **linked),
            sample(world.test_speakers, split="test", confound=world.confound_test, **linked),
            sample(world.face_identities, split="face", confound=0.0, **free),
        ],
        ignore_index=True,
    )


def sample(
    n: int,
    *,
    split: str,
    seed: int,
    strength: float,
    confound: float,
    shares: dict[str, float] | None = None,
) -> pd.DataFrame:
    """Draw the speakers of one split.

    Args:
        n: Number of speakers.
        split: One of `SPLITS`; splits of the same seed are independent.
        seed: Seed of the world.
        strength: Strength of the hidden causes (see the module docstring).
        confound: Probability that a speaker has a home language (see `language_given_group`).
        shares: Probability of each group; equal by default.

    Returns:
        One row per speaker, with the columns speaker_id, split, sex, age (years), age_band, age_decade (as in Fig. 4),
        group, language, mismatched (not a home language of the group), f0_hz, vtl_cm, vocal_age (years), breath,
        flutter, roughness, wpm (words per minute), glasses (0/1), `face_<parameter>` for every parameter of the head
        model, and the hidden variables `true_*`: the two causes, and the standard scores of the traits they affect.

    Raises:
        UserError: If `shares` does not name exactly the groups in `GROUPS`, or does not sum to 1.
    """
    shares = shares or {group: 1 / len(GROUPS) for group in GROUPS}
    if set(shares) != set(GROUPS) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"The shares of the groups {', '.join(GROUPS)} must be given and sum to 1, not {shares}.")
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    sex = rng.choice(SEXES, n)
    age = rng.uniform(*AGE_RANGE, n)
    group = rng.choice(GROUPS, n, p=[shares[name] for name in GROUPS])
    spoken = language_given_group(confound).loc[group].to_numpy().cumsum(axis=1)
    language = np.array(LANGUAGES)[(rng.random(n)[:, None] >= spoken / spoken[:, -1:]).sum(axis=1)]
    causes = {"size": rng.standard_normal(n), "robustness": rng.standard_normal(n)}
    people = pd.DataFrame(
        {
            "speaker_id": [f"{split}{i:05d}" for i in range(n)],
            "split": split,
            "sex": sex,
            "age": age,
            "age_band": age_band(age),
            "age_decade": [str(min(int(years) // 10 * 10, 70)) for years in age],
            "group": group,
            "language": language,
            "mismatched": [spoken not in HOME_LANGUAGES[name] for spoken, name in zip(language, group, strict=True)],
        }
    )
    voice = _voices(rng, sex, age, causes, strength)
    face, scores = _faces(rng, sex, age, group, causes, strength)
    controls = pd.DataFrame({"glasses": (rng.random(n) < 0.25).astype(int)})
    truth = pd.DataFrame({f"true_{name}": values for name, values in (causes | scores).items()})
    return pd.concat([people, voice, controls, face.add_prefix("face_"), truth], axis=1)


def identity(people: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Head parameters of people, each of shape (people,), as the renderer takes them."""
    return {name: torch.tensor(people[f"face_{name}"].to_numpy(np.float32)) for name in PARAMETERS}


def controls(people: pd.DataFrame, photos: pd.DataFrame) -> pd.DataFrame:
    """Negative controls: attributes that are independent of the voice, as 0/1 columns.

    `people` and `photos` have one row per photograph, in the same order. Continuous attributes are split at their
    median.
    """
    numbers = {
        "dark hair": people["face_melanin"],
        "red hair": people["face_hair_red"],
        "wide-set eyes": people["face_icd"],
        "large ears": people["face_ear"],
        "bright background": photos["bg0"],
        "light from the left": -photos["lx"],
    }
    halves = {name: (values > values.median()).to_numpy().astype(int) for name, values in numbers.items()}
    return pd.DataFrame({"glasses": people["glasses"].to_numpy()} | halves)


def summary(people: pd.DataFrame) -> pd.DataFrame:
    """Summary of each split (row): speakers, mean age, and shares of women, groups and mismatched languages."""
    splits = people.groupby("split", sort=False)
    shares = {
        "speakers": splits.size(),
        "women": splits["sex"].agg(lambda sex: (sex == "F").mean()),
        "mean age": splits["age"].mean(),
        **{f"group {group}": splits["group"].agg(lambda groups, g=group: (groups == g).mean()) for group in GROUPS},
        "mismatched language": splits["mismatched"].mean(),
    }
    return pd.DataFrame(shares).round(2)


def links(people: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Correlations of voice traits (rows) with face `columns`, after removing the means by sex and 5-year age class."""
    traits = ["f0_hz", "vtl_cm", "vocal_age", "wpm"]
    cells = [people["sex"], people["age"] // 5]
    rest = people[traits + columns] - people[traits + columns].groupby(cells).transform("mean")
    return rest.corr().loc[traits, columns]


def _voices(rng, sex, age, causes, strength) -> pd.DataFrame:
    """Draw the voice traits; F0 and tract length are each a loading times the hidden cause plus independent noise."""
    n = len(sex)
    z_vtl, z_f0 = (
        _loaded(rng, causes[cause], scaled(VOICE_LOADING[trait], strength))
        for trait, cause in (("vtl", "size"), ("f0", "robustness"))
    )
    vtl_mean, vtl_sd = vtl_moments(sex)
    vocal_age = age + VOCAL_AGE_SD * rng.standard_normal(n)
    wear = np.clip((vocal_age - 20) / 60, 0, 1)  # 0 at a vocal age of 20 years, 1 at 80
    return pd.DataFrame(
        {
            "f0_hz": mean_f0(sex, age) * 2 ** (F0_SD_SEMITONES * np.clip(z_f0, -2.5, 2.5) / 12),
            "vtl_cm": vtl_mean + vtl_sd * np.clip(z_vtl, -2.5, 2.5),
            "vocal_age": vocal_age,
            "breath": 1 + 17 * wear,
            "flutter": 2 + 7 * wear,
            "roughness": 2 + np.minimum(3, np.floor(4 * wear)).astype(int),
            "wpm": 185 - 45 * wear + 8 * rng.standard_normal(n),
            "true_z_vtl": z_vtl,
            "true_z_f0": z_f0,
        }
    )


def _faces(rng, sex, age, group, causes, strength) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Draw the head parameters; also return the standard scores of those that share a cause with the voice."""
    n, male = len(sex), (sex == "M").astype(float)
    labels, of = np.unique(group, return_inverse=True)
    scores, face = {}, {}
    for name, parameter in PARAMETERS.items():
        if name in SET_APART:
            continue
        z = rng.standard_normal(n)
        for cause, loadings in FACE_LOADING.items():
            if name in loadings:
                loading = scaled(loadings[name], strength)
                z = loading * causes[cause] + np.sqrt(1 - loading**2) * z
                scores[f"z_{name}"] = z
        offset = np.array([GROUP_OFFSET[label].get(name, 0.0) for label in labels])[of]
        mean = parameter.female + (parameter.male - parameter.female) * male
        spread = parameter.sd * (VISIBLE_SPREAD if f"z_{name}" in scores else 1.0)
        face[name] = mean + spread * np.clip(z, -2.5, 2.5) + parameter.sd * offset
    old = _smoothstep(22, 85, age)
    for name, change in AGEING.items():
        face[name] = face[name] * (1 + change * old)
    grey_from = 45 + 10 * rng.standard_normal(n)  # Panhard 2012: at 45-65 years 27 % of the hair is grey on average
    face["age"] = age
    face["grey"] = _smoothstep(grey_from, grey_from + 35, age)
    face["ita"] = np.array([GROUP_ITA[label] for label in labels])[of] + ITA_SD * rng.standard_normal(n)
    face["beard"] = male * rng.uniform(0, 0.7, n)
    face["melanin"] = rng.uniform(0.15, 1, n)  # hair colour: same distribution in every group, a negative control
    face["hair_red"] = rng.uniform(0, 0.5, n)
    bounded = {name: np.clip(face[name], p.low, p.high) for name, p in PARAMETERS.items()}
    return pd.DataFrame(bounded), scores


def _loaded(rng, cause: np.ndarray, loading: float) -> np.ndarray:
    return loading * cause + np.sqrt(1 - loading**2) * rng.standard_normal(len(cause))


def _smoothstep(low, high, x):
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
