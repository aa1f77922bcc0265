"""Controls: what decoder and classifier add, what a point estimate takes away, and what must make no difference.

Three kinds of them. The same decoder and classifier judge the image arm, so that a gap between groups which both arms
have is not the voice's. A drawing from the distribution of features given the voice, in place of its mean, tells
erasure by averaging from erasure by the model. Links, order of time and content are destroyed one by one, and what
survives is what a result did not owe to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.fft
from jaxtyping import Bool, Float, Float32, Int, Int16
from scipy.signal import welch
from scipy.stats import rankdata

from s2f.fairness import audit
from s2f.metrics import attributes, bootstrap, probes
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.metrics.similarity import Features, Metric, pairwise
from s2f.signal.audio import FULL_SCALE
from s2f.study.paths import UserError

# 8 ms: shorter than two periods of most voices, so the spectrum is that of the tract, without the lines of the pitch.
SPECTRUM_WINDOW = 128
INTACT = "intact"
# By these names the two best possible painters stand beside those that are measured.
BEST_PAINTER, BEST_SAMPLER = "best_painter", "best_sampler"


def voice_less_image(
    true: pd.DataFrame,
    voice: pd.DataFrame,
    image: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    permutations: int,
    minimum: int = audit.MINIMUM_SPEAKERS,
) -> pd.DataFrame:
    """How much larger the gap of each group to the rest is in the voice arm than in the image arm.

    `voice` and `image`: the labels that one classifier reads off the two faces drawn for a clip, an attribute (column
    of `true`) each. The metric is the share of labels read right; its gap is the mean of the group less that of the
    rest of the groups of one attribute; `value` is the voice arm's gap less the image arm's, with its interval. `p`,
    `p_adjusted` (over all groups) and `mdd80` come from dealing the groups out to the speakers anew. Groups below
    `minimum` speakers are left out. Rows: `read` (the attribute) and `group`.
    """
    rows = []
    for name in true:
        right = [(arm[name].astype(str) == true[name]).to_numpy(float) for arm in (voice, image)]
        arms = {"voice_gap": right[0], "image_gap": right[1], "value": right[0] - right[1]}
        dealt = audit.disaggregate(
            arms["value"], true, speakers, resampling, metric=name, permutations=permutations, minimum=minimum
        )
        dealt = dealt[dealt["difference"].notna()]
        for found in dealt.to_dict("records"):
            labels = true[found["attribute"]].astype(str).to_numpy()
            compared = np.isin(labels, dealt.loc[dealt["attribute"] == found["attribute"], "group"])
            inside = labels == found["group"]
            gaps = {arm: _gap(v, inside, compared & ~inside, speakers, resampling) for arm, v in arms.items()}
            row = {"read": name} | {key: found[key] for key in ("attribute", "group", "n_clips", "n_speakers")}
            row |= {arm: gap.value for arm, gap in gaps.items()}
            row |= {"low": gaps["value"].low, "high": gaps["value"].high}
            rows.append(row | {"p": found["p_raw"], "p_adjusted": found["p_adj"], "mdd80": found["mdd80"]})
    return pd.DataFrame(rows)


def _gap(
    values: Float[np.ndarray, "clips"],
    inside: Bool[np.ndarray, "clips"],
    outside: Bool[np.ndarray, "clips"],
    speakers: Column,
    resampling: Resampling,
) -> Estimate:
    """Mean inside less mean outside; a replicate without anybody on one side does not count."""
    columns = np.stack([values * inside, inside, values * outside, outside], axis=1)

    def gap(sums: Float[np.ndarray, "replicates 4"]) -> Float[np.ndarray, "replicates"]:
        means = sums[:, ::2] / np.where(sums[:, 1::2] > 0, sums[:, 1::2], np.nan)
        return means[:, 0] - means[:, 1]

    return bootstrap.from_sums(columns, gap, speakers, resampling)


def posterior_draws(
    heard: Float32[np.ndarray, "clips dim"],
    residuals: Float32[np.ndarray, "fitted dim"],
    scales: Sequence[float],
    seed: int,
) -> dict[str, Float32[np.ndarray, "clips dim"]]:
    """Features that somebody with such a voice may have: each prediction plus the residual of a random other clip.

    `residuals` (true less predicted feature) are those of validation clips. At scale 0 stands the point estimate, at 1
    a drawing from the distribution given the voice, as far as residuals do not depend on predictions. By scale in
    percent ("50%"), with the same residual for a clip at all scales.
    """
    drawn = residuals[np.random.default_rng(seed).integers(0, len(residuals), len(heard))]
    return {f"{scale:.0%}": heard + np.float32(scale) * drawn for scale in scales}


def painters(
    true: pd.DataFrame,
    painted: Mapping[str, pd.DataFrame],
    population: pd.DataFrame,
    weights: Float[np.ndarray, "clips population"],
    speakers: Column,
    resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each label is painted, and how often rightly, by each painter and by the two best possible ones.

    `painted`: labels by painter, with the columns (attributes) of `true`, as `population` has them, whose people the
    best observer gives the probabilities `weights` to be the one heard in a clip. The best painter paints the likeliest
    label, the best sampler draws one with its probability. Rows of `audit.painted_share` by `attribute`, `painter` and
    `label`, and of the accuracy by `attribute` and `painter`.
    """
    rng = np.random.default_rng(resampling.seed)
    shares, right = [], []
    for name in true:
        labels = np.unique(true[name])
        posterior = weights @ (population[name].to_numpy()[:, None] == labels).astype(float)
        arms = {painter: part[name].astype(str).to_numpy() for painter, part in painted.items()}
        arms[BEST_PAINTER] = labels[posterior.argmax(axis=1)]
        passed = np.cumsum(posterior, axis=1) < rng.random((len(posterior), 1)) * posterior.sum(axis=1, keepdims=True)
        arms[BEST_SAMPLER] = labels[passed.sum(axis=1)]
        for painter, seen in arms.items():
            key = {"attribute": name, "painter": painter}
            share = audit.painted_share(true[name], seen, speakers, resampling, posterior, list(labels))
            shares.append(share.assign(**key))
            right.append(key | attributes.agreement(true[name], seen, speakers, resampling).loc["overall"].to_dict())
    return pd.concat(shares, ignore_index=True), pd.DataFrame(right)


def equivalence(
    features: Features,
    labels: pd.DataFrame,
    strata: pd.DataFrame,
    speakers: Column,
    train: Bool[np.ndarray, "clips"],
    resampling: Resampling,
    margin: float,
) -> pd.DataFrame:
    """Is the AUC of a probe that reads each 0/1 label off predicted features within `margin` of chance?

    Two one-sided tests at 5 % (TOST): `equivalent` where the 90 % interval, which `low` and `high` are, lies inside the
    margin, `beyond` where it lies outside; otherwise there are too few speakers to tell. One test a label: a claim of
    equivalence for all is not made easier by their number. `strata` has the columns of `labels`; only clips that share
    a value there are compared.
    """
    one_sided = replace(resampling, level=0.90)
    rows = []
    for name in labels:
        row = probes.negative_controls(features, labels[[name]], speakers, train, one_sided, strata[name]).iloc[0]
        if row["metric"] != "auc":
            raise UserError(f"The control {name} is not a 0/1 label that varies: the margin is one of an AUC.")
        inside = row["bound"] < margin
        outside = row["low"] > 0.5 + margin or row["high"] < 0.5 - margin
        verdict = {"margin": margin, "equivalent": bool(inside), "beyond": bool(outside)}
        rows.append(row.drop("at_chance").to_dict() | verdict)
    return pd.DataFrame(rows)


def win_table(
    pred: Features, faces: Float[np.ndarray, "speakers face_dim"], metric: Metric
) -> Float[np.ndarray, "clips speakers"]:
    """For each voice, the share of the other faces that each face would beat if it were the true one, ties half."""
    return (rankdata(pairwise(pred, faces, metric), axis=1) - 1) / (len(faces) - 1)


def matched(
    pred: Features, faces: Float[np.ndarray, "speakers face_dim"], metric: Metric, strata: Column
) -> Float[np.ndarray, "speakers"]:
    """Share of the other faces of its stratum that each voice's own face (of the same row) beats, ties half."""
    own, strata = np.empty(len(pred)), np.asarray(strata)
    for stratum in np.unique(strata):
        at = np.flatnonzero(strata == stratum)
        if len(at) < 2:
            raise UserError(f"One speaker alone is in the stratum {stratum}: leave it out, there is no other face.")
        own[at] = np.diagonal(win_table(pred[at], faces[at], metric))
    return own


def shuffled_links(
    wins: Float[np.ndarray, "speakers speakers"], strata: pd.DataFrame, resampling: Resampling, permutations: int
) -> pd.DataFrame:
    """1:2 matching when each prediction is given to another speaker of the same stratum, for each column of `strata`.

    `wins` from `win_table`, row i and face i of the same speaker. `value` is the expected score over all other speakers
    of the stratum, with its interval, `lucky_low` to `lucky_high` the range of 95 % of random dealings; `intact` and
    its `difference` (paired) are those of the links as they are, `p` how often dealing does as well. A speaker alone in
    a stratum is left out.
    """
    rows = {}
    for name in strata:
        codes = np.unique(strata[name], return_inverse=True)[1]
        together = (codes[:, None] == codes) & ~np.eye(len(codes), dtype=bool)
        who = np.flatnonzero(together.any(axis=1))
        if len(who) == 0:
            raise UserError(f"Every speaker has a {name} of their own: nobody can take another's prediction.")
        given = (wins * together).sum(axis=1)[who] / together.sum(axis=1)[who]
        own = np.diagonal(wins)[who]
        shuffled, intact = (bootstrap.interval(side, who, resampling, share=True) for side in (given, own))
        apart = bootstrap.combine(np.subtract, intact, shuffled, resampling=resampling)
        rng = np.random.default_rng(resampling.seed)
        luck = np.array([wins[who, _dealt(codes, rng)[who]].mean() for _ in range(permutations)])
        low, high = np.quantile(luck, [0.025, 0.975])
        row = {"chance": 0.5} | shuffled.row() | {"lucky_low": low, "lucky_high": high, "intact": intact.value}
        row |= {"difference": apart.value, "difference_low": apart.low, "difference_high": apart.high}
        rows[name] = row | {"p": (1 + (luck >= intact.value).sum()) / (1 + permutations)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("given_to")


def _dealt(codes: Int[np.ndarray, "speakers"], rng: np.random.Generator) -> Int[np.ndarray, "speakers"]:
    """A random permutation that leaves everybody in their stratum."""
    partner = np.empty(len(codes), dtype=int)
    partner[np.argsort(codes, kind="stable")] = np.lexsort((rng.random(len(codes)), codes))
    return partner


def spectrum_noise(waves: Int16[np.ndarray, "clips samples"], seed: int) -> Int16[np.ndarray, "clips samples"]:
    """Gaussian noise with the long-term average spectrum and the power of each recording: no content, no pitch.

    The spectrum is Welch's at steps of 125 Hz: formants stay as far as they do in the mean over a recording, and its
    level within 2 dB.
    """
    rng = np.random.default_rng(seed)
    samples = waves.shape[1]
    bins = scipy.fft.rfftfreq(samples)
    noise = np.empty_like(waves)
    for wave, made in zip(waves.astype(np.float32), noise, strict=True):
        # Without overlap in half the time; without detrending, or the lowest step would come out too low.
        at, power = welch(wave, nperseg=min(SPECTRUM_WINDOW, samples), noverlap=0, detrend=False)
        gain = np.interp(bins, at, np.sqrt(power)).astype(np.float32)
        shaped = scipy.fft.irfft(scipy.fft.rfft(rng.standard_normal(samples, np.float32)) * gain, samples)
        shaped *= wave.std() / (shaped.std() or 1)
        made[:] = np.rint(shaped).clip(-FULL_SCALE, FULL_SCALE - 1)
    return noise


def survival(
    arms: Mapping[str, Column], chance: float, speakers: Column, resampling: Resampling, intact: str = INTACT
) -> pd.DataFrame:
    """A share a clip in each arm, its paired `difference` from the `intact` arm, and what `survives` of its lead.

    `survives` is (arm - chance) / (intact - chance), NaN where the intact arm has no lead.
    """
    estimates = {name: bootstrap.interval(values, speakers, resampling, share=True) for name, values in arms.items()}
    whole = estimates[intact]

    def part(arm: np.ndarray | float, full: np.ndarray | float) -> np.ndarray | float:
        lead = full - chance
        return (arm - chance) / np.where(lead > bootstrap.NO_VARIANCE, lead, np.nan)

    rows = []
    for name, estimate in estimates.items():
        less = bootstrap.combine(np.subtract, estimate, whole, resampling=resampling)
        left = bootstrap.combine(part, estimate, whole, resampling=resampling)
        row = {"arm": name, "chance": chance} | estimate.row()
        row |= {"difference": less.value, "difference_low": less.low, "difference_high": less.high}
        rows.append(row | {"survives": left.value, "survives_low": left.low, "survives_high": left.high})
    return pd.DataFrame(rows)


def what_survives(
    voices: Mapping[str, Float[np.ndarray, "speakers dim"]],
    faces: Float[np.ndarray, "speakers face_dim"],
    test: Bool[np.ndarray, "speakers"],
    read: Mapping[str, pd.DataFrame],
    true: pd.DataFrame,
    resampling: Resampling,
    dims: int,
    within: str = "sex",
) -> pd.DataFrame:
    """What changed recordings still tell: 1:2 matching, and attributes read off the drawn faces. One clip a speaker.

    Row i of each of `voices` (features by arm) and of `faces` belong to one speaker; `read` (labels by arm) and `true`
    have a row a test speaker. The likelihood ratio of `matching` is fitted on the other speakers with intact voices,
    that of `_anew` with voices changed in the same way, as a score made for speech may misread other sound;
    `_within_sex` compares people of one sex. Chance of an attribute: always its commonest label. Rows of `survival`, by
    `what`.
    """
    fitted = {arm: LikelihoodRatio.fit(heard[~test], faces[~test], dims) for arm, heard in voices.items()}
    as_trained = dict.fromkeys(voices, fitted[INTACT])
    everybody, speakers, tables = np.zeros(len(true)), np.arange(len(true)), {}
    for name, strata in {"matching": everybody, f"matching_within_{within}": true[within]}.items():
        for how, score in {"": as_trained, "_anew": fitted}.items():
            own = {arm: matched(heard[test], faces[test], score[arm], strata) for arm, heard in voices.items()}
            tables[name + how] = survival(own, 0.5, speakers, resampling)
    for name in true:
        right = {arm: (labels[name].astype(str) == true[name]).to_numpy(float) for arm, labels in read.items()}
        tables[name] = survival(right, true[name].value_counts(normalize=True).max(), speakers, resampling)
    return pd.concat([table.assign(what=what) for what, table in tables.items()], ignore_index=True)
