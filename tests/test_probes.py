"""Probes find what is there, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from s2f import probes, stats
from s2f.paths import UserError

QUICK = stats.Resampling(seed=2, replicates=300)


def clips_of(n_speakers, clips, rng, dim=6, noise=0.5):
    """Features that are a speaker's own plus the noise of each clip."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    own = rng.normal(size=(n_speakers, dim))
    return own[speakers] + noise * rng.normal(size=(len(speakers), dim)), own[speakers], speakers


def probe_world(rng, n_speakers=200):
    features, own, speakers = clips_of(n_speakers, 2, rng, dim=10)
    labels = pd.DataFrame(
        {
            "glasses": rng.random(n_speakers)[speakers] < 0.4,
            "hair_red": rng.normal(size=n_speakers)[speakers],
            "sex": np.where(own[:, 0] > 0, "F", "M"),
            "size": own[:, 1],
        }
    )
    return features, labels, speakers, speakers < n_speakers // 2


def test_probes_find_what_is_there_and_only_that(rng):
    features, labels, speakers, train = probe_world(rng)
    found = probes.negative_controls(features, labels, speakers, train, QUICK).set_index("control")
    assert list(found.metric) == ["auc", "r", "auc", "r"]
    assert list(found.at_chance) == [True, True, False, False]
    assert found.value["sex"] > 0.9 and found.value["size"] > 0.8


def test_a_control_that_goes_with_sex_is_at_chance_within_sex(rng):
    features, labels, speakers, train = probe_world(rng, 400)
    likely = np.where(labels.sex == "F", 0.8, 0.2)
    beard = pd.DataFrame({"beard": rng.random(400)[speakers] < likely, "brow": 2 * likely + labels.hair_red})
    alone = probes.negative_controls(features, beard, speakers, train, QUICK)
    within = probes.negative_controls(features, beard, speakers, train, QUICK, strata=labels["sex"])
    assert not alone.at_chance.any() and within.at_chance.all()


def test_probes_of_one_face_for_everybody_are_exactly_at_chance(rng):
    _, labels, speakers, train = probe_world(rng)
    found = probes.negative_controls(np.full((400, 3), 0.1), labels, speakers, train, QUICK)
    assert (found["value"] == found["chance"]).all()


def test_probes_refuse_a_shared_speaker_and_many_labels(rng):
    features, labels, speakers, train = probe_world(rng)
    with pytest.raises(UserError, match="Speaker 0 is on both sides"):
        probes.negative_controls(features, labels, speakers, np.arange(400) % 2 == 0, QUICK)
    background = pd.DataFrame({"background": rng.choice(["a", "b", "c"], 400)})
    with pytest.raises(UserError, match="background has 3 labels"):
        probes.negative_controls(features, background, speakers, train, QUICK)
