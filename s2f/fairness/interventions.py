"""Controls: what decoder and classifier add, what a point estimate takes away, and what must make no difference.

The same decoder and classifier are applied in the image arm, so a gap between groups that both arms show is not due to
the voice. A draw from the distribution of features given the voice, in place of its mean, separates erasure by
averaging from erasure by the model. Links, order of time and content are destroyed one by one: what survives is not due
to them.
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
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.metrics.similarity import Features, Metric, pairwise
from s2f.signal.audio import FULL_SCALE
from s2f.study.paths import UserError

# 8 ms, shorter than two periods of most voices: the spectrum of the tract, without the harmonics of the pitch.
SPECTRUM_WINDOW = 128
INTACT = "intact"
# Names of the two best possible painters.
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
    """Difference between the voice arm and the image arm in the gap of each group to the rest.

    The metric is the share of labels read correctly; its gap is the mean of the group less that of the other groups of
    the attribute. A row for each attribute that is `read`, and each `attribute` and `group`: `value` is the voice arm's
    gap less the image arm's, with its interval; `p`, `p_adjusted` (over all groups) and `mdd80` are those of
    `audit.by_group`.

    Args:
        true: true labels, a column for each attribute.
        voice: labels that one classifier reads off the faces drawn from the voices.
        image: labels that it reads off the faces drawn from the pictures.
        speakers: who speaks in each clip.
        resampling: how intervals are made.
        permutations: of the null distribution.
        minimum: groups of fewer speakers are left out.
    """
    rows = []
    for name in true:
        in_voice, in_image = ((arm[name].astype(str) == true[name]).to_numpy(float) for arm in (voice, image))
        arms = {"voice_gap": in_voice, "image_gap": in_image, "value": in_voice - in_image}
        options = {"metric": name, "permutations": permutations, "minimum": minimum}
        table = audit.disaggregate(arms["value"], true, speakers, resampling, **options)
        compared = table[table["difference"].notna()]
        for attribute, groups in compared.groupby("attribute", sort=False):
            labels = true[attribute].astype(str)
            for found in groups.to_dict("records"):
                inside = labels == found["group"]
                outside = labels.isin(groups["group"]) & ~inside
                gaps = {a: audit.contrast(v, inside, speakers, resampling, outside) for a, v in arms.items()}
                row = {"read": name} | {key: found[key] for key in ("attribute", "group", "n_clips", "n_speakers")}
                row |= {arm: gap.value for arm, gap in gaps.items()}
                row |= {"low": gaps["value"].low, "high": gaps["value"].high}
                rows.append(row | {"p": found["p_raw"], "p_adjusted": found["p_adj"], "mdd80": found["mdd80"]})
    return pd.DataFrame(rows)


def posterior_draws(
    predicted: Float32[np.ndarray, "clips dim"],
    residuals: Float32[np.ndarray, "fitted dim"],
    scales: Sequence[float],
    seed: int,
) -> dict[str, Float32[np.ndarray, "clips dim"]]:
    """Draws from the distribution of features given the voice: each prediction plus the residual of a random clip.

    Scale 0 is the point estimate, 1 a draw from that distribution, as far as residuals do not depend on predictions. By
    scale in percent ("50%"), with the same residual for a clip at all scales.

    Args:
        predicted: the predicted feature of each clip.
        residuals: true less predicted features of other (validation) clips.
        scales: factors of the residuals.
        seed: of the draws.
    """
    drawn = residuals[np.random.default_rng(seed).integers(0, len(residuals), len(predicted))]
    return {f"{scale:.0%}": predicted + np.float32(scale) * drawn for scale in scales}


def painters(
    true: pd.DataFrame,
    painted: Mapping[str, pd.DataFrame],
    population: pd.DataFrame,
    weights: Float[np.ndarray, "clips population"],
    speakers: Column,
    resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each label is painted, and how often rightly, by each painter and by the two best possible ones.

    The best painter paints the likeliest label, the best sampler draws one with its probability. Rows of
    `audit.painted_share` by `attribute`, `painter` and `label`, and of the accuracy by `attribute` and `painter`.

    Args:
        true: true labels of each clip, a column for each attribute.
        painted: labels read off the drawn faces, by painter.
        population: labels of a large sample of people.
        weights: the best observer's probability of each of these people to be the speaker of a clip.
        speakers: who speaks in each clip.
        resampling: how intervals are made; its seed is that of the sampler too.
    """
    rng = np.random.default_rng(resampling.seed)
    shares, right = [], []
    for name in true:
        labels = np.unique(true[name])
        posterior = weights @ (population[name].to_numpy()[:, None] == labels).astype(float)
        arms = {painter: part[name].astype(str).to_numpy() for painter, part in painted.items()}
        arms[BEST_PAINTER] = labels[posterior.argmax(axis=1)]
        below = np.cumsum(posterior, axis=1) < rng.random((len(posterior), 1)) * posterior.sum(axis=1, keepdims=True)
        arms[BEST_SAMPLER] = labels[below.sum(axis=1)]
        for painter, named in arms.items():
            key = {"attribute": name, "painter": painter}
            share = audit.painted_share(true[name], named, speakers, resampling, posterior, list(labels))
            shares.append(share.assign(**key))
            right.append(key | attributes.agreement(true[name], named, speakers, resampling).loc["overall"].to_dict())
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

    Two one-sided tests at 5 % (TOST): `equivalent` where the 90 % interval from `low` to `high` lies inside the margin,
    `beyond` where it lies outside; otherwise there are too few speakers to tell. Each label is tested alone, without
    adjustment for their number.

    Args:
        features: predicted features of the clips.
        labels: 0/1 labels, a column for each control.
        strata: in the same columns, what compared clips must share.
        speakers: who speaks in each clip.
        train: the clips that probes are fitted on.
        resampling: how intervals are made.
        margin: of the AUC about 0.5.
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
    """1:2 matching with each prediction exchanged for that of another speaker of the same stratum.

    A row for each column of `strata`: `value` is the expected score over all other speakers of the stratum, with its
    interval; `lucky_low` to `lucky_high` is the range of 95 % of random permutations; `intact` and its `difference`
    (paired) are those of the true links, and `p` how often a permutation does as well. A speaker alone in a stratum is
    left out.

    Args:
        wins: from `win_table`; row i and face i belong to the same speaker.
        strata: labels of the speakers.
        resampling: how intervals are made; its seed is that of the permutations too.
        permutations: how many.
    """
    rows = {}
    for name in strata:
        codes = np.unique(strata[name], return_inverse=True)[1]
        together = (codes[:, None] == codes) & ~np.eye(len(codes), dtype=bool)
        who = np.flatnonzero(together.any(axis=1))
        if len(who) == 0:
            raise UserError(f"Every speaker has a {name} of their own: nobody can take another's prediction.")
        exchanged = (wins * together).sum(axis=1)[who] / together.sum(axis=1)[who]
        own = np.diagonal(wins)[who]
        shuffled, intact = (bootstrap.interval(side, who, resampling, share=True) for side in (exchanged, own))
        apart = bootstrap.combine(np.subtract, intact, shuffled, resampling=resampling)
        rng = np.random.default_rng(resampling.seed)
        null = np.array([wins[who, _permuted(codes, rng)[who]].mean() for _ in range(permutations)])
        low, high = np.quantile(null, [0.025, 0.975])
        row = {"chance": 0.5} | shuffled.row() | {"lucky_low": low, "lucky_high": high, "intact": intact.value}
        rows[name] = row | apart.row("difference") | {"p": (1 + (null >= intact.value).sum()) / (1 + permutations)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("given_to")


def _permuted(codes: Int[np.ndarray, "speakers"], rng: np.random.Generator) -> Int[np.ndarray, "speakers"]:
    """A random permutation that leaves everybody in their stratum."""
    partner = np.empty(len(codes), dtype=int)
    partner[np.argsort(codes, kind="stable")] = np.lexsort((rng.random(len(codes)), codes))
    return partner


def spectrum_noise(waves: Int16[np.ndarray, "clips samples"], seed: int) -> Int16[np.ndarray, "clips samples"]:
    """Gaussian noise with the long-term average spectrum (Welch, steps of 125 Hz) and the power of each recording.

    Without content or pitch; the mean spectrum over a recording keeps its formants, and its level within 2 dB.
    """
    rng = np.random.default_rng(seed)
    samples = waves.shape[1]
    bins = scipy.fft.rfftfreq(samples)
    noise = np.empty_like(waves)
    for wave, made in zip(waves.astype(np.float32), noise, strict=True):
        # No overlap takes half the time; detrending would lower the lowest step.
        at, power = welch(wave, nperseg=min(SPECTRUM_WINDOW, samples), noverlap=0, detrend=False)
        gain = np.interp(bins, at, np.sqrt(power)).astype(np.float32)
        shaped = scipy.fft.irfft(scipy.fft.rfft(rng.standard_normal(samples, np.float32)) * gain, samples)
        shaped *= wave.std() / (shaped.std() or 1)
        made[:] = np.rint(shaped).clip(-FULL_SCALE, FULL_SCALE - 1)
    return noise


def survival(
    arms: Mapping[str, Column], chance: float, speakers: Column, resampling: Resampling, intact: str = INTACT
) -> pd.DataFrame:
    """Mean of each arm, its paired `difference` from the `intact` arm, and the part of its lead that `survives`.

    `survives` is (arm - chance) / (intact - chance), NaN where the intact arm is not above chance. `arms` are per-clip
    values in [0, 1].
    """
    estimates = {name: bootstrap.interval(values, speakers, resampling, share=True) for name, values in arms.items()}
    whole = estimates[intact]

    def part(arm: np.ndarray | float, full: np.ndarray | float) -> np.ndarray | float:
        lead = full - chance
        return (arm - chance) / np.where(lead > bootstrap.NO_VARIANCE, lead, np.nan)

    rows = []
    for name, estimate in estimates.items():
        less, left = (bootstrap.combine(f, estimate, whole, resampling=resampling) for f in (np.subtract, part))
        rows.append({"arm": name, "chance": chance} | estimate.row() | less.row("difference") | left.row("survives"))
    return pd.DataFrame(rows)


def what_survives(
    voices: Mapping[str, Float[np.ndarray, "speakers dim"]],
    faces: Float[np.ndarray, "speakers face_dim"],
    test: Bool[np.ndarray, "speakers"],
    read: Mapping[str, pd.DataFrame],
    true: pd.DataFrame,
    resampling: Resampling,
    dims: int,
    within: str | None = "sex",
) -> pd.DataFrame:
    """1:2 matching by changed recordings, and attributes read off the faces drawn from them. One clip for each speaker.

    The likelihood ratio of `matching` is fitted on the other speakers with intact voices, that of `_anew` with voices
    changed in the same way, as a score fitted to speech may misjudge other sound; `_within_sex` compares people of one
    sex. Chance of an attribute: always its commonest label. Rows of `survival`, by `what`.

    Args:
        voices: predicted features by arm, one of which is `INTACT`.
        faces: features of the true faces, in the same rows.
        test: the speakers who are tested.
        read: labels read off the drawn faces by arm, a row for each test speaker.
        true: true labels of the test speakers.
        resampling: how intervals are made.
        dims: directions of the likelihood ratio.
        within: the column of `true` within which people are compared as well; None leaves that out.
    """
    fitted = {arm: LikelihoodRatio.fit(features[~test], faces[~test], dims) for arm, features in voices.items()}
    as_trained = dict.fromkeys(voices, fitted[INTACT])
    speakers, tables = np.arange(int(test.sum())), {}
    compared = {"matching": np.zeros(len(speakers))}
    if within is not None:
        compared[f"matching_within_{within}"] = true[within]
    for name, strata in compared.items():
        for how, score in {"": as_trained, "_anew": fitted}.items():
            own = {arm: matched(features[test], faces[test], score[arm], strata) for arm, features in voices.items()}
            tables[name + how] = survival(own, 0.5, speakers, resampling)
    for name in true:
        right = {arm: (labels[name].astype(str) == true[name]).to_numpy(float) for arm, labels in read.items()}
        tables[name] = survival(right, true[name].value_counts(normalize=True).max(), speakers, resampling)
    return pd.concat([table.assign(what=what) for what, table in tables.items()], ignore_index=True)
