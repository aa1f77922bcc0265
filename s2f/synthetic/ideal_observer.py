"""The best that anybody could do: exact likelihoods in the known model of `world.people`.

An observer who knew the model, heard every trait of a voice without error and saw every parameter of a face without
error would rank faces by p(voice | face): no system can do better (Neyman-Pearson; a recording and a photograph only
lose information). From that one function follow the ceilings of retrieval and matching (rank by it) and, by weighting
a large sample of people with it (Monte-Carlo over the exact posterior), those of correlations and attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from scipy.stats import norm

from s2f.study.config import World
from s2f.synthetic import people

Column = np.ndarray | pd.Series


def log_likelihood(
    voices: pd.DataFrame, faces: pd.DataFrame, *, strength: float, confound: float
) -> Float[np.ndarray, "voices faces"]:
    """log p(traits of a voice | everything about a face), for each voice with each face (rows of `people.sample`).

    Four independent parts given the face: F0 and tract length (Gaussian about what sex, age and the hidden causes, as
    far as the face shows them, predict), vocal age about the age, and the language about the group.
    """
    spoken = people.language_given_group(confound).loc[faces["group"], voices["language"]].to_numpy().T
    total = np.log(np.maximum(spoken, 1e-300))
    total += norm.logpdf(voices["vocal_age"].to_numpy()[:, None], faces["age"].to_numpy()[None], people.VOCAL_AGE_SD)
    sex, age = faces["sex"].to_numpy(), faces["age"].to_numpy()
    for trait, cause in (("f0", "robustness"), ("vtl", "size")):
        loading = people.scaled(people.VOICE_LOADING[trait], strength)
        mean, variance = cause_given_face(faces, cause, strength)
        expected, spread = loading * mean, np.sqrt(loading**2 * variance + 1 - loading**2)
        if trait == "f0":
            centre, unit = np.log2(people.mean_f0(sex, age)), people.F0_SD_SEMITONES / 12
            trait_value = np.log2(voices["f0_hz"].to_numpy())
        else:
            centre, unit = people.vtl_moments(sex)
            trait_value = voices["vtl_cm"].to_numpy()
        unit = np.broadcast_to(unit, sex.shape)
        score = (trait_value[:, None] - centre[None]) / unit[None]
        total += norm.logpdf(score, expected[None], spread) - np.log(unit)[None]
    return total


def cause_given_face(faces: pd.DataFrame, cause: str, strength: float) -> tuple[Float[np.ndarray, " faces"], float]:
    """Mean and variance of a hidden cause once all parameters of a face are known (a one-factor model)."""
    precision, weighted = 1.0, np.zeros(len(faces))
    for name, published in people.FACE_LOADING[cause].items():
        loading = people.scaled(published, strength)
        precision += loading**2 / (1 - loading**2)
        weighted += loading / (1 - loading**2) * faces[f"true_z_{name}"].to_numpy()
    return weighted / precision, 1 / precision


@dataclass(frozen=True)
class Observer:
    """Somebody who hears every trait of some voices exactly, and knows a large sample of the world they live in.

    `weights`: P(person | voice) over the sample, voices x population, rows sum to 1 (the Monte-Carlo posterior).
    """

    population: pd.DataFrame
    weights: Float[np.ndarray, "voices population"]

    def expected(self, values: Float[np.ndarray, "population *k"]) -> Float[np.ndarray, "voices *k"]:
        """The posterior mean of any face measure: the point estimate with the highest correlation."""
        return self.weights @ values

    def chances(self, labels: Column, names: Sequence[str] | np.ndarray) -> Float[np.ndarray, "voices names"]:
        """P(label | voice) for each of `names`."""
        return self.weights @ (np.asarray(labels)[:, None] == np.asarray(names)[None]).astype(float)

    def most_likely(self, labels: Column) -> Shaped[np.ndarray, "voices"]:
        """The most probable label (sex, age band, group): the guess with the highest accuracy."""
        names = np.unique(np.asarray(labels))
        return names[self.chances(labels, names).argmax(axis=1)]


def observer(voices: pd.DataFrame, world: World, population: int, seed: int) -> Observer:
    """The observer of these voices (rows of `people.sample`) in the test split of a world."""
    known = people.sample(
        population,
        split="test",
        seed=seed,
        strength=world.strength,
        confound=world.confound_test,
        shares=world.group_shares,
    )
    logs = log_likelihood(voices, known, strength=world.strength, confound=world.confound_test)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return Observer(known, weights / weights.sum(axis=1, keepdims=True))
