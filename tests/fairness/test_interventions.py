"""Controls find what was planted: a gap of one arm, erasure, a link; and give chance where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import welch

from s2f.fairness import interventions
from s2f.metrics.bootstrap import Resampling
from s2f.study.paths import UserError

QUICK = Resampling(seed=4, replicates=300)
COSINE = "cosine"


def read_with(rng, true, share_right):
    """Labels of two kinds, read rightly with a probability a clip."""
    other = true["kind"].map({"x": "y", "y": "x"})
    return pd.DataFrame({"kind": np.where(rng.random(len(true)) < share_right, true["kind"], other)})


def test_what_both_arms_have_in_common_cancels_and_the_gap_of_the_voice_is_found(rng):
    """Decoder and classifier fail group x by 30 points in both arms; the voice fails group y by 20 more."""
    true = pd.DataFrame({"kind": rng.choice(["x", "y"], 1200)})
    of_x, of_y = (true["kind"] == "x"), (true["kind"] == "y")
    image, voice = (read_with(rng, true, 0.9 - 0.3 * of_x - worse * of_y) for worse in (0, 0.2))
    speakers = np.arange(1200) // 2 * 2 + of_y  # a speaker has one label
    found = interventions.voice_less_image(true, voice, image, speakers, QUICK, permutations=199)
    found = found.set_index("group")
    right = [(arm["kind"] == true["kind"]).to_numpy() for arm in (voice, image)]
    by_hand = [hits[of_y].mean() - hits[of_x].mean() for hits in right]
    assert found.voice_gap["y"] == pytest.approx(by_hand[0]) and found.image_gap["y"] == pytest.approx(by_hand[1])
    assert found.value["y"] == pytest.approx(by_hand[0] - by_hand[1]) == -found.value["x"]
    assert found.low["y"] < -0.2 < found.high["y"] < 0 and found.p_adjusted["y"] <= 0.01
    same = interventions.voice_less_image(true, image, image, speakers, QUICK, permutations=49)
    assert (same["value"] == 0).all() and not (same["p"] < 1).any()


def test_groups_too_small_are_left_out_of_the_rest_as_well(rng):
    true = pd.DataFrame({"kind": ["x"] * 30 + ["y"] * 30})
    size = pd.Series(["a"] * 26 + ["b"] * 4 + ["c"] * 30)
    voice, image = read_with(rng, true, 0.5), read_with(rng, true, 0.9)
    both = true.assign(size=size)
    arms = [arm.assign(size=size) for arm in (voice, image)]
    found = interventions.voice_less_image(both, *arms, np.arange(60), QUICK, permutations=19)
    found = found[(found["read"] == "kind") & (found["attribute"] == "size")].set_index("group")
    hits = (voice["kind"] == true["kind"]).to_numpy()
    assert list(found.index) == ["a", "c"]
    assert found.voice_gap["a"] == pytest.approx(hits[:26].mean() - hits[30:].mean())


def test_drawings_have_the_spread_of_the_truth_and_the_point_estimate_has_not(rng):
    predicted = rng.normal(size=(4000, 3)).astype(np.float32)
    true = predicted + 2 * rng.normal(size=(4000, 3)).astype(np.float32)
    made = interventions.posterior_draws(predicted[2000:], (true - predicted)[:2000], [0.0, 0.5, 1.0], seed=1)
    assert list(made) == ["0%", "50%", "100%"] and (made["0%"] == predicted[2000:]).all()
    spread = {name: drawn.var() / true[2000:].var() for name, drawn in made.items()}
    # A variance of 6,000 numbers has a relative error of 1.8 %, their ratio of 2.6 %: four of them.
    for name, expected in (("0%", 1 / 5), ("50%", 2 / 5), ("100%", 1)):
        assert spread[name] == pytest.approx(expected, rel=0.11)
    np.testing.assert_allclose(made["50%"], (made["0%"] + made["100%"]) / 2, atol=1e-6)


def test_the_best_painter_erases_and_the_best_sampler_does_not(rng):
    """Four voices tell a minority of 20 % (the likelier label for none of them) with 5 to 35 % certainty."""
    certainty = rng.choice([0.05, 0.15, 0.25, 0.35], 3000)
    small = rng.random(3000) < certainty
    true = pd.DataFrame({"kind": np.where(small, "small", "big")})
    population = pd.DataFrame({"kind": ["big", "small"]})
    weights = np.stack([1 - certainty, certainty], axis=1)
    painted = {"faithful": true, "blind": pd.DataFrame({"kind": ["big"] * 3000})}
    shares, right = interventions.painters(true, painted, population, weights, np.arange(3000), QUICK)
    minority = shares[shares["label"] == "small"].set_index("painter")
    assert minority.ratio["faithful"] == 1 and minority.ratio["blind"] == minority.ratio["best_painter"] == 0
    assert minority.low["best_sampler"] < 1 < minority.high["best_sampler"]
    assert minority.amplification["blind"] == 0 and minority.amplification["best_sampler"] < 0
    right = right.set_index("painter")["value"]
    expected = (certainty**2 + (1 - certainty) ** 2).mean()
    assert right["best_sampler"] == pytest.approx(expected, abs=4 * 0.0085)
    assert right["best_sampler"] < right["best_painter"]
    assert right["faithful"] == 1


def one_sign(rng, n_speakers):
    """A feature that shows one sign, hides another one, and shows the stratum."""
    stratum = rng.integers(0, 2, n_speakers)
    shown, hidden = rng.integers(0, 2, (2, n_speakers))
    features = rng.normal(size=(n_speakers, 4))
    features[:, 0] += 3 * shown
    features[:, 1] += 5 * stratum
    labels = pd.DataFrame({"shown": shown, "hidden": hidden, "like stratum": stratum ^ (rng.random(n_speakers) < 0.2)})
    return features, labels, pd.DataFrame(dict.fromkeys(labels, stratum))


def test_a_control_passes_fails_or_has_too_few_speakers(rng):
    features, labels, strata = one_sign(rng, 2600)
    train = np.arange(2600) < 600
    found = interventions.equivalence(features, labels, strata, np.arange(2600), train, QUICK, margin=0.1)
    found = found.set_index("control")
    assert found.equivalent.to_dict() == {"shown": False, "hidden": True, "like stratum": True}
    assert found.beyond.to_dict() == {"shown": True, "hidden": False, "like stratum": False}
    few = np.arange(2600) < 660
    found = interventions.equivalence(features[few], labels[few], strata[few], np.arange(660), train[few], QUICK, 0.05)
    assert not found.set_index("control").loc["hidden", ["equivalent", "beyond"]].any()


def test_a_number_is_no_control_with_a_margin_of_an_auc(rng):
    features, labels, strata = one_sign(rng, 60)
    labels = labels[["shown"]].assign(shown=rng.normal(size=60))
    with pytest.raises(UserError, match="control shown is not a 0/1 label"):
        interventions.equivalence(features, labels, strata, np.arange(60), np.arange(60) < 30, QUICK, 0.1)


def people(rng, n_speakers=120):
    """Faces that show sex and something of their own, and predictions with noise."""
    sex = rng.integers(0, 2, n_speakers)
    faces = rng.normal(size=(n_speakers, 6))
    faces[:, 0] = 6 * sex - 3
    return faces + 0.5 * rng.normal(size=faces.shape), faces, sex


def test_the_table_of_wins_agrees_with_counting(rng):
    predicted, faces, sex = people(rng, 9)
    faces[3] = faces[4]  # a tie
    wins = interventions.win_table(predicted, faces, COSINE)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (predicted, faces)]
    scores = unit[0] @ unit[1].T
    for voice in range(9):
        for face in (0, 3, 8):
            others = np.delete(scores[voice], face)
            tied = np.isclose(others, scores[voice, face], atol=1e-12)
            beaten = (others < scores[voice, face]) & ~tied
            assert wins[voice, face] == pytest.approx((beaten + tied / 2).mean())
    assert (interventions.matched(predicted, faces, COSINE, np.zeros(9)) == np.diagonal(wins)).all()
    women = np.flatnonzero(sex == 0)
    alone = interventions.win_table(predicted[women], faces[women], COSINE)
    assert (interventions.matched(predicted, faces, COSINE, sex)[women] == np.diagonal(alone)).all()
    with pytest.raises(UserError, match="alone is in the stratum 7"):
        interventions.matched(predicted, faces, COSINE, np.array([7] + [1] * 8))


def test_shuffled_links_leave_what_the_stratum_explains(rng):
    predicted, faces, sex = people(rng)
    wins = interventions.win_table(predicted, faces, COSINE)
    found = interventions.shuffled_links(wins, pd.DataFrame({"anybody": 0, "sex": sex}), QUICK, permutations=199)
    anybody, same = found.loc["anybody"], found.loc["sex"]
    assert anybody.value == pytest.approx(0.5, abs=0.01) and anybody.lucky_low < 0.5 < anybody.lucky_high
    others = (sex[:, None] == sex) & ~np.eye(len(sex), dtype=bool)
    assert same.value == pytest.approx(np.mean([row[there].mean() for row, there in zip(wins, others, strict=True)]))
    assert 0.7 < same.value < same.lucky_high < same.intact == pytest.approx(np.diagonal(wins).mean())
    assert same.difference_low > 0 and same.p == 1 / 200
    nothing = interventions.shuffled_links(rng.random((120, 120)), pd.DataFrame({"anybody": [0] * 120}), QUICK, 199)
    assert nothing.p["anybody"] > 0.01
    with pytest.raises(UserError, match="a name of their own"):
        interventions.shuffled_links(wins, pd.DataFrame({"name": np.arange(120)}), QUICK, 9)


def test_noise_has_the_spectrum_and_the_power_of_the_recording_and_nothing_else(speech_like):
    wave = (speech_like(6.0) * 20_000).astype(np.int16)
    waves = np.stack([wave, wave // 4, np.zeros_like(wave)])
    noise = interventions.spectrum_noise(waves, seed=1)
    assert noise.dtype == np.int16 and (noise[2] == 0).all()
    assert noise[:2].astype(float).std(axis=1) == pytest.approx(waves[:2].std(axis=1), rel=0.02)
    levels = [10 * np.log10(welch(w.astype(float), nperseg=128, detrend=False)[1]) for w in (waves[0], noise[0])]
    assert np.abs(levels[0] - levels[1]).max() < 2  # dB: the spectrum of the noise has been smoothed twice
    loudness = [np.abs(w[0].astype(float)).reshape(-1, 800).mean(axis=1) for w in (waves, noise)]
    assert loudness[1].std() / loudness[1].mean() < 0.3 * loudness[0].std() / loudness[0].mean()
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.05
    assert (noise == interventions.spectrum_noise(waves, seed=1)).all()
    assert (noise[0] != interventions.spectrum_noise(waves, seed=2)[0]).any()


def test_noise_has_no_lines_of_the_pitch():
    """A buzz at 200 Hz has 20 dB between its harmonics; in its noise neighbouring levels are alike."""
    time = np.arange(48_000) / 16_000
    buzz = sum(np.sin(2 * np.pi * 200 * k * time) / k for k in range(1, 30))
    noise = interventions.spectrum_noise((3000 * buzz).astype(np.int16)[None], seed=1)[0]
    lines = 200 * np.arange(2, 9)

    def depth(wave):
        at, power = welch(wave.astype(float), 16_000, nperseg=2048)
        on, between = (np.interp(hertz, at, 10 * np.log10(power)) for hertz in (lines, lines + 100))
        return (on - between).mean()

    assert depth(buzz) > 20 > 3 > depth(noise)


def test_survival_is_the_share_of_the_lead_that_is_left(rng):
    lead = rng.random(400)
    arms = {"intact": 0.5 + 0.4 * lead, "half": 0.5 + 0.2 * lead, "none": np.full(400, 0.5)}
    found = interventions.survival(arms, 0.5, np.arange(400), QUICK).set_index("arm")
    assert found.survives.to_dict() == pytest.approx({"intact": 1, "half": 0.5, "none": 0})
    assert found.difference["half"] == pytest.approx(-0.2 * lead.mean()) and found.difference_high["half"] < 0
    assert np.isnan(interventions.survival({"intact": arms["none"]}, 0.5, np.arange(400), QUICK)["survives"]).all()


def test_a_score_fitted_anew_reads_what_a_trained_one_misreads(rng):
    """A changed voice says the same with another sign: a score made for the intact one is misled, a new one is not."""
    predicted, faces, sex = people(rng, 700)
    test = np.arange(700) >= 400
    true = pd.DataFrame({"sex": np.where(sex, "M", "F")})[test].reset_index(drop=True)
    voices = {"intact": predicted, "mirrored": -predicted, "nothing": rng.normal(size=predicted.shape)}
    read = {arm: true if arm == "intact" else true.assign(sex="F") for arm in voices}
    found = interventions.what_survives(voices, faces, test, read, true, QUICK, dims=6).set_index(["what", "arm"])
    assert list(found.index.levels[0]) == sorted(
        ["matching", "matching_anew", "matching_within_sex", "matching_within_sex_anew", "sex"]
    )
    for what in ("matching", "matching_within_sex"):
        assert found.value[what, "mirrored"] < 0.3 < 0.9 < found.value[what, "intact"]
        assert found.survives[f"{what}_anew", "mirrored"] == pytest.approx(1)
        assert found.low[f"{what}_anew", "nothing"] <= 0.5 <= found.high[f"{what}_anew", "nothing"]
    assert found.value["sex", "nothing"] == (true["sex"] == "F").mean()
