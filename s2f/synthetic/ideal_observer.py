"""The ideal observer: upper bounds on performance from exact likelihoods in the known model of `people`.

An observer that knows the model and all traits of a voice and a face without error ranks faces by p(voice | face). No
system can do better, by the Neyman-Pearson lemma and because recordings and photographs only lose information. Ranking
by this likelihood gives the ceilings of retrieval and matching; weighting a large sample of people by it (Monte Carlo
over the exact posterior) gives those of correlations and attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from s2f.study.config import World
from s2f.synthetic import people

Column = np.ndarray | pd.Series


def log_likelihood(
    voices: pd.DataFrame, faces: pd.DataFrame, *, strength: float, confound: float
) -> Float[np.ndarray, "voices faces"]:
    """Log-likelihood log p(voice traits | face) of each voice given each face.

    It is the sum of four terms that are independent given the face: Gaussians for F0 and tract length, whose means
    depend on sex, age and the hidden causes inferred from the face; a Gaussian for vocal age given age; and the
    probability of the language given the group.

    Args:
        voices: Rows of `people.sample`, of which the voice traits are used.
        faces: Rows of `people.sample`, of which the face parameters are used.
        strength: Strength of the hidden causes (see `people`).
        confound: Probability that a speaker has a home language (see `people`).
    """
    spoken = np.log(np.maximum(people.language_given_group(confound), 1e-300))
    group, language = spoken.index.get_indexer(faces["group"]), spoken.columns.get_indexer(voices["language"])
    total = spoken.to_numpy()[group, language[:, None]]
    total += _log_normal(voices["vocal_age"].to_numpy()[:, None], faces["age"].to_numpy(), people.VOCAL_AGE_SD)
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
        total += _log_normal(trait_value[:, None], centre + unit * expected, unit * spread)
    return total


def _log_normal(
    values: Float[np.ndarray, "voices 1"], mean: Float[np.ndarray, "faces"], spread: Float[np.ndarray, "faces"] | float
) -> Float[np.ndarray, "voices faces"]:
    """Log-density of normal distributions; that of scipy checks its arguments for longer than it computes."""
    return -np.log(np.sqrt(2 * np.pi) * spread) - np.square((values - mean) / (np.sqrt(2) * spread))


def cause_given_face(faces: pd.DataFrame, cause: str, strength: float) -> tuple[Float[np.ndarray, " faces"], float]:
    """Posterior mean and variance of a hidden cause given all face parameters (a one-factor model)."""
    precision, weighted = 1.0, np.zeros(len(faces))
    for name, published in people.FACE_LOADING[cause].items():
        loading = people.scaled(published, strength)
        precision += loading**2 / (1 - loading**2)
        weighted += loading / (1 - loading**2) * faces[f"true_z_{name}"].to_numpy()
    return weighted / precision, 1 / precision


@dataclass(frozen=True)
class Observer:
    """Posterior over a large sample of people, given the exact traits of some voices.

    Args:
        population: The sample of people (rows of `people.sample`).
        weights: P(person | voice) over the sample (the Monte-Carlo posterior); rows sum to 1.
    """

    population: pd.DataFrame
    weights: Float[np.ndarray, "voices population"]

    def expected(self, values: Float[np.ndarray, "population *k"]) -> Float[np.ndarray, "voices *k"]:
        """Posterior mean of any face measures, the point estimate with the highest correlation."""
        return self.weights @ values

    def chances(self, labels: Column, names: Sequence[str] | np.ndarray) -> Float[np.ndarray, "voices names"]:
        """P(label | voice) for each of `names`."""
        return self.weights @ (np.asarray(labels)[:, None] == np.asarray(names)[None]).astype(float)

    def most_likely(self, labels: Column) -> Shaped[np.ndarray, "voices"]:
        """Most probable label (sex, age band, group) of each voice, the prediction with the highest accuracy."""
        names = np.unique(np.asarray(labels))
        return names[self.chances(labels, names).argmax(axis=1)]


def observer(voices: pd.DataFrame, world: World, population: int, seed: int) -> Observer:
    """Create the ideal observer of some voices in the test split of a world.

    Args:
        voices: Rows of `people.sample`.
        world: Settings of the synthetic world.
        population: Number of people in the Monte-Carlo sample.
        seed: Seed of that sample.
    """
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
