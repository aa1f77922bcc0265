"""Heard and unheard languages: equal parts of a corpus, verification as elsewhere, and a planted cost is found."""

import numpy as np
import pandas as pd
import pytest

from s2f.data import trials
from s2f.fairness.languages import as_many_of_each, crossed, judged
from s2f.metrics import bootstrap, matching, protocols, verification
from s2f.study.paths import UserError

SAMPLING = bootstrap.Resampling(seed=6, replicates=300)


def test_each_language_keeps_as_many_speakers_in_each_split():
    counts = {("train", "en"): 5, ("train", "de"): 3, ("val", "en"): 1, ("val", "de"): 2}
    clips = pd.DataFrame(
        [
            {"split": split, "language": language, "speaker_id": f"{split}-{language}-{number}", "take": take}
            for take in range(2)
            for (split, language), count in counts.items()
            for number in range(count)
        ]
    )
    kept = as_many_of_each(clips)
    people = kept.groupby(["split", "language"])["speaker_id"].agg(lambda names: sorted(set(names)))
    assert {key: len(names) for key, names in people.items()} == {
        ("train", "de"): 3, ("train", "en"): 3, ("val", "de"): 1, ("val", "en"): 1
    }  # fmt: skip
    assert people["train", "en"] == ["train-en-0", "train-en-1", "train-en-2"]
    assert (kept.groupby("speaker_id").size() == 2).all() and kept.index.is_monotonic_increasing


@pytest.fixture
def town(rng):
    """Faces, and voices in two languages as two trainings hear them: an unheard language adds noise."""
    names = [f"p{number:03d}" for number in range(60)]
    truth = rng.normal(size=(60, 8))
    faces = pd.DataFrame(truth, index=[f"{name}/face" for name in names])
    played = trials.verification([f"{name}/0" for name in names], faces.index, pd.Series(0, names), draws=6, seed=1)
    arms = {}
    for trained in ("en", "de"):
        for tested in ("en", "de"):
            noise = (0.6 if trained == tested else 1.6) * rng.normal(size=truth.shape)
            arms[trained, tested] = protocols.Arm(
                pd.DataFrame(truth + noise, index=[f"{name}/0" for name in names]), faces
            )
    return arms, played


def test_verification_is_that_of_the_other_protocols(town):
    arms, played = town
    arm = arms["en", "de"]
    scores = arm.scores(played["voice"], played[["face"]].to_numpy(object))[:, 0]
    table = played[["same"]].assign(query=played["voice_speaker"], face=played["face_speaker"], score=scores)
    plain = verification.verification(table, SAMPLING)
    found = judged(played, arm, SAMPLING)
    for metric in ("eer", "auc"):
        assert found[metric].row() == pytest.approx(plain[metric].row())
    speakers = trials.speakers(arm.queries.index)
    met = matching.matching(arm.queries.to_numpy(), arm.gallery.to_numpy(), speakers, SAMPLING)
    assert found["matching"].value == pytest.approx(met["value"].item())


def test_the_planted_cost_of_an_unheard_language_is_found(town):
    arms, played = town
    cells = {key: judged(played, arm, SAMPLING)["eer"] for key, arm in arms.items()}
    table = crossed(cells, SAMPLING).set_index(["trained", "tested"])
    values = {key: estimate.value for key, estimate in cells.items()}
    assert table.loc[("both", "all"), "value"] == pytest.approx(np.mean(list(values.values())))
    assert table.loc[("both", "heard"), "value"] == pytest.approx((values["en", "en"] + values["de", "de"]) / 2)
    assert table.loc[("en", "heard_less_unheard"), "value"] == pytest.approx(values["en", "en"] - values["en", "de"])
    both = table.loc[("both", "heard_less_unheard")]
    assert both["value"] == pytest.approx(
        table.loc[("both", "heard"), "value"] - table.loc[("both", "unheard"), "value"]
    )
    assert both["high"] < 0 and (table["n_speakers"] == 60).all()


def test_a_language_that_makes_no_difference_costs_nothing(town):
    arms, played = town
    same = judged(played, arms["en", "en"], SAMPLING)["eer"]
    table = crossed({key: same for key in arms}, SAMPLING).set_index("tested").loc["heard_less_unheard"]
    assert (table[["value", "low", "high"]] == 0).all(axis=None)


def test_a_missing_cell_is_refused(town):
    arms, played = town
    cells = {key: judged(played, arm, SAMPLING)["auc"] for key, arm in arms.items()}
    del cells["de", "en"]
    with pytest.raises(UserError, match="training on de in en"):
        crossed(cells, SAMPLING)
