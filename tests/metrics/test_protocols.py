"""Protocols against plain references, exact chance, and the published ceilings of attribute-only observers."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score, roc_auc_score

from s2f.data import trials
from s2f.metrics import matching, protocols, retrieval, search
from s2f.metrics import verification as verification_metrics
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.protocols import Arm
from s2f.study.paths import UserError

QUICK = Resampling(seed=5, replicates=100)
# Women and men of each nationality among the 1,251 speakers of VoxCeleb1, by number: no name is needed for a ceiling.
MEN = (431, 127, 29, 25, 15, 13, 13, 6, 5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, *[0] * 11)
WOMEN = (368, 88, 25, 12, 11, 7, 5, 2, 2, 5, 5, 0, 2, 1, 1, 4, 2, 2, 2, 1, 1, 0, 0, 0, 0, 4, 2, *[1] * 9)


def town(rng, n=60, clips=2, photos=2, strength=0.6, dim=6):
    """People with attributes, and features of their voices and photographs that share part of a face."""
    names = [f"p{number:03d}" for number in range(n)]
    people = pd.DataFrame(
        {
            "sex": rng.choice(["F", "M"], n),
            "group": rng.choice(["a", "b"], n),
            "age_band": rng.choice(["young", "old"], n),
        },
        index=names,
    )
    face = pd.DataFrame(rng.normal(size=(n, dim)), index=names)
    sides = {}
    for kind, count, share in (("voice", clips, strength), ("face", photos, 0.9)):
        items = [f"{name}/{kind}-{take}" for name in names for take in range(count)]
        noise = rng.normal(size=(len(items), dim))
        seen = share * face.loc[trials.speakers(items)].to_numpy() + np.sqrt(1 - share**2) * noise
        sides[kind] = pd.DataFrame(seen, index=items)
    return people, sides["voice"], sides["face"]


def lists(people, voices, faces, stratum="U", size=4, draws=2):
    labels = protocols.strata(people)[stratum]
    played = trials.matching(voices.index, faces.index, labels, size=size, draws=draws, seed=1)
    return played, trials.verification(voices.index, faces.index, labels, draws=draws, seed=1)


def all_values(arms, people, voices, faces, stratum="U"):
    """Each metric of each protocol in both directions, with its chance."""
    back = {name: arm.reversed() for name, arm in arms.items()}
    forth, verified = lists(people, voices, faces, stratum)
    towards_voices, _ = lists(people, faces, voices, stratum)
    tables = [
        protocols.matching(forth, arms, {}, QUICK, range(2, 5)),
        protocols.matching(towards_voices, back, {}, QUICK, range(2, 5)),
        protocols.verification(verified, arms, {}, QUICK),
        protocols.retrieve(arms, {}, QUICK),
        protocols.retrieve(back, {}, QUICK),
    ]
    return pd.concat(tables, ignore_index=True)


coordinate = st.floats(-100, 100, allow_subnormal=False).map(lambda value: round(value, 3))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(coordinate, min_size=6, max_size=6), st.lists(coordinate, min_size=6, max_size=6), st.booleans())
def test_an_embedding_that_knows_nothing_scores_chance_exactly_in_every_metric(heard, seen, same):
    people, voices, faces = town(np.random.default_rng(0), n=16)
    nowhere = voices * 0 + np.array(heard), faces * 0 + np.array(heard if same else seen)
    found = all_values({metric: Arm(*nowhere, metric) for metric in ("cosine", "l1", "l2")}, people, voices, faces)
    assert len(found) == 3 * (3 + 3 + 2 + 4 + 4)
    np.testing.assert_allclose(found["value"], found["chance"], rtol=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
def test_a_constant_embedding_scores_chance_exactly_by_every_road(metric, rng):
    """Matching 1:2 to 1:10 both ways, R@K in both readings, mAP, AUC and EER, of `retrieval`, `protocols`, `search`."""
    people, voices, faces = town(rng, n=100, clips=2, photos=1)
    nowhere, nobody = voices * 0 + rng.normal(size=6), faces * 0 + rng.normal(size=6)
    arm, speakers = {"constant": Arm(nowhere, nobody, metric)}, trials.speakers(voices.index).astype(str)
    back = {"constant": arm["constant"].reversed()}
    to_faces, verified = lists(people, voices, faces, "G", size=10)
    to_voices, _ = lists(people, faces, voices, "G", size=10)
    heard, own = nowhere.to_numpy(), people.index.get_indexer(speakers)
    shown, sides = nobody.to_numpy()[own], (speakers, QUICK)
    ranked = [retrieval.ranks(heard, nobody.to_numpy(), own, metric)]
    if metric != "l1":
        ranked.append(search.ranks_by_size(heard, nobody.to_numpy(), own, [100], metric)[100])
    verification = verification_metrics.verification(
        verification_metrics.trials(heard, shown, speakers, 1, metric), QUICK
    )
    tables = {
        "lists, from voices": protocols.matching(to_faces, arm, {}, QUICK),
        "lists, from faces": protocols.matching(to_voices, back, {}, QUICK),
        "lists, verification": protocols.verification(verified, arm, {}, QUICK),
        "retrieval of faces": protocols.retrieve(arm, {}, QUICK),
        "retrieval of voices": protocols.retrieve(back, {}, QUICK),
        "matching from voices": pd.concat([matching.matching(heard, shown, *sides, n, metric) for n in range(2, 11)]),
        "matching from faces": pd.concat([matching.matching(shown, heard, *sides, n, metric) for n in range(2, 11)]),
        "verification": pd.DataFrame([{"chance": 0.5, "value": part.value} for part in verification.values()]),
        "recall": pd.concat([retrieval.recall(placed, speakers, [1, 2, 5, 10], QUICK) for placed in ranked]),
        "recall among 60": retrieval.recall(ranked[-1], speakers, [1, 2, 5, 10], QUICK, 60),
    }
    for name, table in tables.items():
        np.testing.assert_allclose(table["value"], table["chance"], rtol=1e-12, err_msg=name)


def test_lists_of_trials_are_hashed_and_do_not_depend_on_order(rng, tmp_path):
    people, voices, faces = town(rng, n=30)
    hashes = []
    for seed in (1, 2):
        about, *sides = (part.sample(frac=1, random_state=seed) for part in (people, voices, faces))
        drawn = protocols.draw_lists(about, *(side.index for side in sides), draws=2, seed=7)
        hashes.append(trials.write(drawn, tmp_path))
    assert hashes[0] == hashes[1] and len(hashes[0]) == 18
    other = protocols.draw_lists(people, voices.index, faces.index, draws=2, seed=8)
    changed = trials.write(other, tmp_path)
    assert all(changed[name]["sha256"] != row["sha256"] for name, row in hashes[0].items())


def test_published_listeners_lie_between_chance_and_certainty_in_a_stratum_of_both_tables():
    for study in protocols.LISTENERS:
        assert 0.5 <= study.low <= study.high <= 1 and study.basis
    names = {study.others for study in protocols.LISTENERS}
    assert names == {"anybody", "same sex", "same sex and group", "same sex and age_band and group"}


def test_a_perfect_embedding_is_always_right(rng):
    people, voices, faces = town(rng)
    number = people.assign(row=np.arange(len(people)))
    known = protocols.attribute_arm(number, ["row"], voices.index, faces.index)
    found = all_values({"known": known}, people, voices, faces, "GNA")
    assert ((found["value"] == 1) | (found["metric"] == "eer")).all()
    assert (found.loc[found["metric"] == "eer", "value"] == 0).all()


def test_shuffled_pairs_score_chance(rng):
    people, voices, faces = town(rng, n=150, clips=1, photos=1)
    shuffled = voices.sample(frac=1, random_state=1).set_axis(voices.index)
    found = all_values({"shuffled": Arm(shuffled, faces)}, people, voices, faces)
    inside = (found["low"] <= found["chance"]) & (found["chance"] <= found["high"])
    assert inside.mean() > 0.8


def test_scores_are_those_of_a_plain_loop_in_both_directions(rng):
    _, voices, faces = town(rng, n=40)
    offered = rng.choice(faces.index.to_numpy(object), (len(voices), 3))
    offered[5, 2] = None
    found = Arm(voices, faces, "l2").scores(voices.index, offered)
    away = [
        [np.nan if face is None else -np.square(voices.loc[voice] - faces.loc[face]).sum() for face in row]
        for voice, row in zip(voices.index, offered, strict=True)
    ]
    np.testing.assert_allclose(found, away, rtol=2e-9)
    back = Arm(voices, faces, "l2").reversed().scores(offered[:, 0], voices.index.to_numpy(object)[:, None])
    np.testing.assert_array_equal(back[:, 0], found[:, 0])


def test_matching_equals_a_plain_loop(rng):
    people, voices, faces = town(rng, n=40)
    coarse = voices.round(0), faces.round(0)  # so that distances tie
    table, _ = lists(people, voices, faces, "G", size=5)
    found = protocols.matching(table, {"arm": Arm(*coarse, "l1")}, {}, QUICK, range(2, 6)).set_index("n")
    for n in range(2, 6):
        credit = []
        for row in table.itertuples(index=False):
            away = [np.abs(coarse[0].loc[row.probe] - coarse[1].loc[face]).sum() for face in row[1 : n + 1]]
            credit.append((away[0] == min(away)) / away.count(min(away)))
        assert found.value[n] == pytest.approx(np.mean(credit), abs=1e-12)
        assert found.low[n] < found.value[n] < found.high[n] and found.chance[n] == 1 / n


def test_lists_of_trials_approach_the_expectation_over_all_of_them(rng):
    people, voices, faces = town(rng, n=80, clips=1, photos=1)
    table, _ = lists(people, voices, faces, "GN", size=3, draws=60)
    found = protocols.matching(table, {"arm": Arm(voices, faces)}, {}, QUICK, [2, 3])
    label = pd.DataFrame({"GN": protocols.strata(people)["GN"].to_numpy()})
    for n, value in zip([2, 3], found["value"], strict=True):
        exact = matching.matching(voices.to_numpy(), faces.to_numpy(), np.arange(80), QUICK, n, strata=label)
        # 4,800 draws with at most .5 of standard deviation.
        assert value == pytest.approx(exact.set_index("others").value["same GN"], abs=4 * 0.5 / np.sqrt(4800))


def test_a_planted_link_lies_within_its_interval(rng):
    """Cosine of unit vectors in the plane, angle off by a half-normal: 1:2 accuracy has a closed form."""
    spread, n = 0.5, 400
    angle = rng.uniform(0, 2 * np.pi, n)
    heard = angle + rng.normal(0, spread, n)
    people, voices, faces = town(rng, n, clips=1, photos=1)
    sides = (pd.DataFrame({0: np.cos(a), 1: np.sin(a)}).set_axis(side.index)
             for a, side in ((heard, voices), (angle, faces)))  # fmt: skip
    table, _ = lists(people, voices, faces, size=2)
    row = protocols.matching(table, {"arm": Arm(*sides)}, {}, QUICK, [2]).iloc[0]
    truth = 1 - spread * np.sqrt(2 / np.pi) / np.pi  # another face is nearer with probability |error| / pi
    assert row.low < truth < row.high


def test_verification_equals_sklearn_and_references_stand_beside(rng):
    people, voices, faces = town(rng)
    _, table = lists(people, voices, faces)
    arm, known = Arm(voices, faces), protocols.attribute_arm(people, ["sex"], voices.index, faces.index)
    found = protocols.verification(table, {"arm": arm}, {"sex": known}, QUICK).set_index("metric")
    score = arm.scores(table["voice"], table[["face"]].to_numpy(object))[:, 0]
    assert found.value["auc"] == pytest.approx(roc_auc_score(table["same"].astype(bool), score), abs=1e-12)
    differs = 1 - (people["sex"][table["voice_speaker"]].to_numpy() == people["sex"][table["face_speaker"]].to_numpy())
    unmatched = differs[~table["same"].to_numpy(bool)].mean()
    # All matched pairs tie with the unmatched ones of the same sex.
    assert found.sex["auc"] == pytest.approx((1 + unmatched) / 2, abs=1e-12)
    assert found.sex["eer"] == pytest.approx((1 - unmatched) / (2 - unmatched), abs=1e-9)


def test_average_precision_equals_sklearn_and_with_ties_every_order(rng):
    scores, relevant = rng.normal(size=(20, 15)), rng.random((20, 15)) < 0.3
    relevant[:, 0] = True
    expected = [average_precision_score(truth, row) for truth, row in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(protocols.average_precision(scores, relevant), expected, atol=1e-12)
    tied, truth = np.array([[2.0, 1, 1, 1, 0, 0]]), np.array([[False, True, False, True, True, False]])
    orders = [order for order in permutations(range(6)) if (np.diff(tied[0][list(order)]) <= 0).all()]
    brute = [average_precision_score(truth[0][list(order)], -np.arange(6.0)) for order in orders]
    assert protocols.average_precision(tied, truth)[0] == pytest.approx(np.mean(brute), abs=1e-12)
    brute = [average_precision_score(truth[0][list(order)], -np.arange(6.0)) for order in permutations(range(6))]
    assert protocols.chance_precision(np.array([3]), 6)[0] == pytest.approx(np.mean(brute), abs=1e-12)


def test_retrieval_ranks_people_by_their_mean_item(rng):
    people, voices, faces = town(rng, n=30)
    found = protocols.retrieve({"arm": Arm(voices, faces, "l2")}, {}, QUICK, [1, 5]).set_index("metric")
    templates = faces.groupby(trials.speakers(faces.index)).mean()
    own = templates.index.get_indexer(trials.speakers(voices.index))
    away = np.square(voices.to_numpy()[:, None] - templates.to_numpy()).sum(axis=2)
    rank = (away < away[np.arange(60), own][:, None]).sum(axis=1)
    assert found.value["r5"] == pytest.approx((rank < 5).mean()) and found.chance["r5"] == 5 / 30
    assert found.chance["map"] == protocols.chance_precision(np.array([2]), 60)[0]


@pytest.fixture(scope="module")
def voxceleb():
    """1,251 speakers in the proportions of VoxCeleb1, an item each, and the trials of each stratum."""
    nation = np.repeat(np.arange(len(MEN) * 2) // 2, np.column_stack([MEN, WOMEN]).ravel())
    sex = np.repeat(["m", "f"] * len(MEN), np.column_stack([MEN, WOMEN]).ravel())
    names = [f"v{number:04d}" for number in range(len(sex))]
    people = pd.DataFrame({"sex": sex, "group": nation, "age_band": "any"}, index=names)
    items = [f"{name}/item" for name in names]
    labels = protocols.strata(people)
    played = {
        name: trials.matching(items, items, labels[name], size=10, draws=6, seed=3) for name in ("U", "G", "N", "GN")
    }
    return people, items, played


@pytest.mark.parametrize(("known", "pair"), [(["sex"], 0.748), (["group"], 0.779), (["sex", "group"], 0.888)])
def test_attribute_oracles_reproduce_the_ceilings_of_voxceleb(known, pair, voxceleb):
    people, items, played = voxceleb
    arm = {"known": protocols.attribute_arm(people, known, items, items)}
    found = protocols.matching(played["U"], arm, {}, QUICK, [2, 10]).set_index("n")["value"]
    alike = people.groupby(known)["sex"].transform("size") - 1  # others whom the oracle cannot tell from the target
    tied = np.arange(10)
    ten = hypergeom.pmf(tied, 1250, alike.to_numpy()[:, None], 9) @ (1 / (1 + tied))
    # 7,506 draws with at most .35 of standard deviation; the ceilings of pairs are known with three digits.
    noise = 3 * 0.35 / np.sqrt(7506)
    assert found[2] == pytest.approx(pair, abs=0.0005 + noise)
    assert found[10] == pytest.approx(ten.mean(), abs=noise)
    for stratum, attributes in (("G", ["sex"]), ("N", ["group"]), ("GN", ["sex", "group"])):
        if set(known) <= set(attributes):  # what all candidates share says nothing
            inside = protocols.matching(played[stratum], arm, {}, QUICK, [2, 10])
            np.testing.assert_allclose(inside["value"], inside["chance"], atol=1e-12)


def test_strata_need_their_attributes():
    people = pd.DataFrame({"sex": ["F", "F", "M"], "group": ["a", None, "a"], "age_band": ["x", "x", "x"]}, list("abc"))
    labels = protocols.strata(people)
    assert list(labels) == ["U", "G", "N", "A", "GN", "GNA"]
    assert labels["G"]["a"] == labels["G"]["b"] != labels["G"]["c"]
    assert labels.isna().sum().to_dict() == {"U": 0, "G": 0, "N": 1, "A": 0, "GN": 1, "GNA": 1}


def test_the_best_observer_is_the_best_in_both_directions_and_verification():
    """Voice = face + noise: the likelihood ratio beats the bare likelihood where voices are compared."""
    rng = np.random.default_rng(1)
    n, noise = 300, 0.7
    people, voices, faces = town(rng, n, clips=1, photos=1)
    face, crowd = rng.normal(size=n), rng.normal(size=20_000)
    voice = face + noise * rng.normal(size=n)

    def log_likelihood(shown):
        return -np.square(voice[:, None] - shown) / 2 / noise**2

    table = pd.DataFrame(log_likelihood(face), index=people.index, columns=people.index)
    nobody = np.zeros(n)
    evidence = protocols.log_evidence(log_likelihood(crowd), nobody, np.zeros(20_000))
    exact = -np.square(voice) / 2 / (1 + noise**2)  # the marginal of a voice, up to a constant
    np.testing.assert_allclose(evidence - evidence.mean(), exact - exact.mean(), atol=0.1)
    sides = voices.index, faces.index
    best, bare = (protocols.likelihood_arm(table, part, *sides) for part in (evidence, nobody))
    found = all_values({"best": best, "bare": bare}, people, voices, faces).fillna({"n": 0, "metric": ""})
    verified = found[found["metric"] == "auc"].set_index("arm")["value"]
    assert verified["best"] > verified["bare"] + 0.01
    to_face, to_voice = (found.iloc[rows].set_index("arm")["value"] for rows in (slice(0, 2), slice(6, 8)))
    assert to_face["best"] == to_face["bare"] and to_voice["best"] > to_voice["bare"] + 0.01


def test_strata_without_trials_are_empty_not_an_error(rng):
    people, voices, faces = town(rng, n=8)
    people["group"] = people.index  # nobody shares a group
    played, verified = lists(people, voices, faces, "GN")
    sides = {"arm": Arm(voices, faces)}, {"reference": Arm(voices, faces)}, QUICK
    found = pd.concat([protocols.matching(played, *sides), protocols.verification(verified, *sides)])
    assert found["value"].isna().all() and (found["n_speakers"] == 0).all()


def test_where_only_the_sex_is_known_and_no_best_observer_the_rest_is_left_out(rng):
    people, voices, faces = town(rng, n=20)
    known = people[["sex"]]
    trial_lists = protocols.draw_lists(known, voices.index, faces.index, draws=1, seed=1)
    found = protocols.evaluate(trial_lists, {"arm": Arm(voices, faces)}, {}, None, QUICK, {})
    assert list(found["matching"]["stratum"].unique()) == list(protocols.strata(known)) == ["U", "G"]
    assert all("ceiling" not in table for table in found.values())


def test_bad_requests_say_what_to_do(rng):
    people, voices, faces = town(rng, n=8)
    played, _ = lists(people, voices, faces)
    with pytest.raises(UserError, match="no features of p007/face-1"):
        protocols.matching(played, {"arm": Arm(voices, faces.iloc[:-1])}, {}, QUICK)
    with pytest.raises(UserError, match="larger population"):
        protocols.log_evidence(np.zeros((2, 3)), np.array([0, 1]), np.zeros(3))
