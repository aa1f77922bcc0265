"""The ceiling is the exact likelihood of the known model."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from s2f.study import config
from s2f.synthetic import ideal_observer, people

PARAMS = Path(__file__).parents[2] / "params.yaml"
SETTINGS = config.load(config.World, PARAMS).model_copy(update={"strength": 2.5, "confound_test": 0.7})
WORLD = {"strength": 2.5, "confound": 0.7}
SHARES = SETTINGS.group_shares


def draw(n, seed=0, **world):
    return people.sample(n, split="test", seed=seed, shares=SHARES, **(WORLD | world))


def test_cause_given_face_is_bayes_rule_for_one_factor():
    """Against numerical integration of prior times likelihood for one face."""
    face = draw(1)
    loadings = {n: people.scaled(value, 2.5) for n, value in people.FACE_LOADING["size"].items()}

    def joint(cause):
        likelihoods = (
            norm.pdf(face[f"true_z_{name}"][0], weight * cause, np.sqrt(1 - weight**2))
            for name, weight in loadings.items()
        )
        return norm.pdf(cause) * np.prod(list(likelihoods))

    total = quad(joint, -8, 8)[0]
    mean = quad(lambda cause: cause * joint(cause), -8, 8)[0] / total
    second = quad(lambda cause: cause**2 * joint(cause), -8, 8)[0] / total
    got_mean, got_variance = ideal_observer.cause_given_face(face, "size", 2.5)
    assert got_mean[0] == pytest.approx(mean, abs=1e-6)
    assert got_variance == pytest.approx(second - mean**2, abs=1e-6)


def test_the_posterior_is_calibrated():
    """Among voices for which it says P(woman) = p, a share p are women: four standard errors a bin."""
    voices = draw(3000, seed=1)
    observer = ideal_observer.observer(voices, SETTINGS, 4000, seed=2)
    p = observer.chances(observer.population["sex"], ["F"])[:, 0]
    female = (voices["sex"] == "F").to_numpy()
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        inside = (p >= low) & (p < high)
        assert abs(female[inside].mean() - p[inside].mean()) < 4 * np.sqrt(0.25 / inside.sum()) + 0.02


def test_the_point_estimate_has_the_correlation_that_the_links_allow():
    voices = draw(2000, seed=3)
    observer = ideal_observer.observer(voices, SETTINGS, 6000, seed=4)
    estimate = observer.expected(observer.population["true_z_face_h"].to_numpy())
    r = np.corrcoef(estimate, voices["true_z_face_h"])[0, 1]
    planned = people.scaled(people.VOICE_LOADING["vtl"], 2.5) * people.scaled(
        people.FACE_LOADING["size"]["face_h"], 2.5
    )
    assert r == pytest.approx(
        planned, abs=0.06
    )  # 4/sqrt(2000) = .09 of sampling, .02 of Monte-Carlo: generous, not tight


def test_the_true_face_wins_more_often_than_chance_and_never_always():
    speakers = draw(300, seed=5)
    scores = ideal_observer.log_likelihood(speakers, speakers, **WORLD)
    rank = 1 + (scores > np.diag(scores)[:, None]).sum(1)
    assert 3 < np.median(rank) < 40


def test_without_links_only_sex_age_remain():
    null = {"strength": 0.0, "confound": 0.0}
    voices = draw(500, seed=6, **null)
    world = SETTINGS.model_copy(update={"strength": 0.0, "confound_test": 0.0})
    observer = ideal_observer.observer(voices, world, 3000, seed=7)
    estimate = observer.expected(observer.population["face_ita"].to_numpy())
    assert abs(np.corrcoef(estimate, voices["face_ita"])[0, 1]) < 4 / np.sqrt(500)
    assert (observer.most_likely(observer.population["sex"]) == voices["sex"]).mean() > 0.9


def test_the_likelihood_is_the_product_of_its_four_terms():
    """Pair by pair, term by term."""
    people_drawn = draw(12, seed=8)
    rows = [row for _, row in people_drawn.iterrows()]
    causes = {cause: ideal_observer.cause_given_face(people_drawn, cause, 2.5) for cause in ("robustness", "size")}
    spoken = people.language_given_group(0.7)

    def likelihood(voice, face, number):
        f0, tract = (people.scaled(people.VOICE_LOADING[trait], 2.5) for trait in ("f0", "vtl"))
        (robust, robust_var), (size, size_var) = causes["robustness"], causes["size"]
        pitch, unit = np.log2(people.mean_f0(np.array([face["sex"]]), np.array([face["age"]])))[0], 1 / 12
        centre, per_cm = (np.broadcast_to(part, 1)[0] for part in people.vtl_moments(np.array([face["sex"]])))
        terms = (
            spoken.loc[face["group"], voice["language"]],
            norm.pdf(voice["vocal_age"], face["age"], people.VOCAL_AGE_SD),
            norm.pdf(
                np.log2(voice["f0_hz"]),
                pitch + f0 * robust[number] * people.F0_SD_SEMITONES * unit,
                np.sqrt(f0**2 * robust_var + 1 - f0**2) * people.F0_SD_SEMITONES * unit,
            ),
            norm.pdf(
                voice["vtl_cm"],
                centre + tract * size[number] * per_cm,
                np.sqrt(tract**2 * size_var + 1 - tract**2) * per_cm,
            ),
        )
        return np.prod(terms)

    plain = [[likelihood(voice, face, number) for number, face in enumerate(rows)] for voice in rows]
    found = np.exp(ideal_observer.log_likelihood(people_drawn, people_drawn, **WORLD))
    np.testing.assert_allclose(found, plain, rtol=1e-9)
