"""Line-up risk: what would happen if the drawn face were used as a phantom image to look for the speaker.

The risks: innocent people who look more like the drawn face than the true speaker does, innocent people who would be
accused, and line-ups without the speaker. Ties are shared, as in `retrieval`. For pools up to the size of the gallery
expectations are exact (hypergeometric); beyond it they are extrapolated to a pool of more people of the same kind.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.matching import matching_from_scores
from s2f.metrics.retrieval import Ranks
from s2f.metrics.similarity import rounded
from s2f.study.numbers import finite
from s2f.study.paths import UserError

# Probabilities are extrapolated from a gallery smaller by this factor and the whole one.
SHRUNK = 4
# The smallest gallery that `first_matches` takes.
FEWEST = 2 * SHRUNK
# Scale of a score, e^low to e^high, within which `certainty_scale` searches.
LOG_SCALES = (-7.0, 7.0)


class Comparison(NamedTuple):
    """Voices compared with the faces of a gallery."""

    scores: Float[np.ndarray, "clips people"]  # larger when closer
    own: Int[np.ndarray, "clips"]  # which person speaks

    @property
    def ranks(self) -> Ranks:
        """The rank of each speaker's own face."""
        return retrieval.ranks_from_scores(self.scores, self.own)

    def matching(
        self, n: int, speakers: Column, resampling: Resampling, strata: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """`matching_from_scores` against the faces of the gallery."""
        return matching_from_scores(self.scores, self.own, speakers, resampling, n, strata)


def innocents_above(
    matched: pd.Series, best: pd.Series | None, ranks: Ranks, pools: Sequence[int], resampling: Resampling
) -> pd.DataFrame:
    """Expected number of innocent people who score above the true speaker, in each pool and in the gallery.

    An innocent scores higher with probability 1 - value, so of N - 1 innocents that many times N - 1 do: exactly for a
    pool drawn from the gallery (`exact`), beyond it if the others are people of the same kind. If no innocent ever
    scored higher, `high` is the exact binomial bound with speakers as trials. `median` is for the median recording.

    Args:
        matched: the row of `Comparison.matching` (n = 2) against anybody; its interval resamples voices and faces.
        best: that of the best possible observer (None: not known).
        ranks: the ranks of the true speakers.
        pools: the sizes, the true speaker included.
        resampling: how the interval was made.
    """
    share, low, high = 1 - matched["value"], 1 - matched["high"], 1 - matched["low"]
    if share == 0:
        high = 1 - resampling.tail ** (1 / matched["n_speakers"])
    innocents = np.array(_sizes(pools, ranks)) - 1
    shares = {"value": share, "low": max(low, 0.0), "high": high, "chance": 0.5}
    if best is not None:
        shares["ceiling"] = 1 - best["value"]
    shares["median"] = np.median(1 - ranks.wins)
    table = {"pool": innocents + 1, "exact": innocents <= ranks.others}
    table |= {name: innocents * part for name, part in shares.items()}
    return pd.DataFrame(table).assign(n_clips=matched["n_clips"], n_speakers=matched["n_speakers"])


def _sizes(pools: Sequence[int], ranks: Ranks) -> list[int]:
    """The sizes in order, that of the gallery among them."""
    if min(pools, default=2) < 2:
        raise UserError(f"A pool of {min(pools)} holds no innocent: pools need at least 2 people.")
    return sorted({*pools, ranks.others + 1})


def first_matches(
    ranks: Ranks,
    pools: Sequence[int],
    ks: Sequence[int],
    speakers: Column,
    resampling: Resampling,
    known: int | None = None,
) -> pd.DataFrame:
    """Probability that the true speaker is among the first k of a pool, for each k and larger pool, and the gallery.

    Exact up to `known` people; beyond, the straight line in logarithms from a quarter of them to all is extrapolated.
    The curve of an informative score bends down (that of Gaussian scores does), so the line is rather an upper bound,
    and its interval does not cover the bend. Where nobody was found among the first k of `known` people, the value is 0
    and `high` the exact binomial bound there. Rows are named in `found`, such as 1_of_100.

    Args:
        ranks: of the true speakers in the gallery.
        pools: the sizes, the true speaker included.
        ks: how many of the first matches are looked at.
        speakers: who speaks in each clip.
        resampling: how intervals are made.
        known: people up to whom probabilities are counted (default: the gallery).
    """
    known = ranks.others + 1 if known is None else known
    if not FEWEST <= known <= ranks.others + 1:
        raise UserError(f"{known} people cannot be drawn from this gallery: use {FEWEST} to {ranks.others + 1}.")
    rows = []
    for k in ks:
        near, far = (_found(ranks, k, size, speakers, resampling) for size in (known // SHRUNK, known))
        for pool in (pool for pool in _sizes(pools, ranks) if pool > k):
            if pool <= known:
                row = _found(ranks, k, pool, speakers, resampling).row()
            elif far.value == 0:
                row = far.row()
            else:
                reach = np.log(pool / known) / np.log(known / (known // SHRUNK))
                line = bootstrap.combine(partial(_extrapolated, reach), near, far, resampling=resampling)
                row = line.row()
            named = {"found": f"{k}_of_{pool}", "k": k, "pool": pool, "exact": pool <= known}
            rows.append(named | {"chance": k / pool} | row)
    return pd.DataFrame(rows)


def _extrapolated(reach: float, near: float | np.ndarray, far: float | np.ndarray) -> float | np.ndarray:
    """The value `reach` steps beyond `far` on the line in logarithms; 0 where `far` is."""
    return far * (far / np.where(near > 0, near, 1)) ** reach


def _found(ranks: Ranks, k: int, size: int, speakers: Column, resampling: Resampling) -> bootstrap.Estimate:
    return bootstrap.interval(retrieval.recall_at(ranks, min(k, size), size), speakers, resampling, share=True)


def falsely_accused(ranks: Ranks, pool: int | None = None) -> Float[np.ndarray, "queries"]:
    """Probability that an innocent is accused when the first of a pool (default: the whole gallery) always is."""
    return 1 - retrieval.recall_at(ranks, 1, pool)


def top_match_differs(
    scores: Float[np.ndarray, "clips people"], own: Int[np.ndarray, "clips"], labels: Shaped[np.ndarray, "people"]
) -> tuple[Float[np.ndarray, "clips"], Float[np.ndarray, "clips"]]:
    """Per-clip probability that the first match has another label than the speaker, and that a random person has."""
    labels = np.asarray(labels)
    if pd.isna(labels).any():
        raise UserError(f"{pd.isna(labels).sum()} people have no label: leave them out of the gallery.")
    other = labels != labels[own][:, None]
    first = _first(scores)
    return (first * other).sum(axis=1), other.mean(axis=1)


def _first(scores: Float[np.ndarray, "rows people"]) -> Float[np.ndarray, "rows people"]:
    """Each person's probability of being the first of a row, shared between those who tie."""
    scores = rounded(scores)
    top = scores == scores.max(axis=1, keepdims=True)
    return top / top.sum(axis=1, keepdims=True)


TOP_MATCHES = ["group", "value", "low", "high", "chance", "ceiling", "n_clips", "n_speakers"]


def top_matches(
    scores: Float[np.ndarray, "clips people"],
    best: Float[np.ndarray, "clips people"] | None,
    own: Int[np.ndarray, "clips"],
    labels: pd.Series,
    speakers: Column,
    resampling: Resampling,
    minimum: int,
) -> pd.DataFrame:
    """How often the first match has another label than the true speaker: for `all`, and by the speaker's label.

    `chance` is that of a random person of the gallery. A label of too few speakers has their number only.

    Args:
        scores: larger when closer.
        best: the scores of the best possible observer, for `ceiling` (None: not known).
        own: which person of the gallery speaks.
        labels: of the people of the gallery.
        speakers: who speaks in each clip.
        resampling: how intervals are made.
        minimum: the fewest speakers of a label with numbers.
    """
    ours, chance = top_match_differs(scores, own, labels.to_numpy())
    ceiling = np.full(len(own), np.nan) if best is None else top_match_differs(best, own, labels.to_numpy())[0]
    true, speakers, rows = labels.to_numpy()[own], np.asarray(speakers), []
    for group in ("all", *np.unique(true)):
        here = np.full(len(own), True) if group == "all" else true == group
        row = {"group": str(group), "n_speakers": len(np.unique(speakers[here]))}
        if row["n_speakers"] >= minimum:
            row |= bootstrap.interval(ours[here], speakers[here], resampling, share=True).row()
            row |= {"chance": chance[here].mean(), "ceiling": ceiling[here].mean()}
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=TOP_MATCHES)


class Lineups(NamedTuple):
    """Pairs of line-ups with the same fillers: with the true speaker, and with another filler in their place."""

    voice: Int[np.ndarray, "lineups"]  # row of the voice
    present: Int[np.ndarray, "lineups members"]  # people, the true speaker first
    absent: Int[np.ndarray, "lineups members"]


def draw_lineups(
    labels: Shaped[np.ndarray, "people"], own: Int[np.ndarray, "clips"], members: int, times: int, seed: int
) -> Lineups:
    """Line-ups of `members` people with the label of the speaker, `times` over for each voice.

    A voice needs so many others of its label; voices that have fewer are left out.
    """
    eligible = (labels == labels[own][:, None]) & (np.arange(len(labels)) != own[:, None])
    voice = np.flatnonzero(eligible.sum(axis=1) >= members).repeat(times)
    if not len(voice):
        raise UserError(f"No speaker has {members} others of the same label: ask for smaller line-ups.")
    order = np.random.default_rng(seed).random((len(voice), len(labels)))
    absent = np.argsort(np.where(eligible[voice], order, np.inf), axis=1)[:, :members]
    return Lineups(voice, np.column_stack([own[voice], absent[:, 1:]]), absent)


def choices(
    scores: Float[np.ndarray, "clips people"], lineups: Lineups, speakers: Column, scale: float
) -> pd.DataFrame:
    """The outcome of choosing the first face of each line-up: `speaker`, `present`, `right`, and how `confident`.

    Confidence is the share of the first face in exp(scale x score): its probability, if the scores are calibrated and
    the speaker is present. Without the speaker every choice is wrong.
    """
    parts = []
    for present, faces in ((True, lineups.present), (False, lineups.absent)):
        shown = scores[lineups.voice[:, None], faces]
        logits = scale * shown
        part = {"speaker": np.asarray(speakers)[lineups.voice], "present": present}
        part |= {"right": _first(shown)[:, 0] * present}
        part |= {"confident": np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def certainty_scale(scores: Float[np.ndarray, "clips people"], lineups: Lineups) -> float:
    """The scale of scores with the highest likelihood in line-ups with their speakers (conditional logit).

    To be fitted on people who are not tested.
    """
    finite(score=scores)
    shown = scores[lineups.voice[:, None], lineups.present]

    def surprise(log_scale: float) -> float:
        logits = np.exp(log_scale) * shown
        return float((logsumexp(logits, axis=1) - logits[:, 0]).mean())

    return float(np.exp(minimize_scalar(surprise, bounds=LOG_SCALES, method="bounded").x))


def confidence(table: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """From `choices`: rows hits, mean confidence with the speaker `present` and `absent`, and its AUC between the two.

    An AUC of 0.5 says that confidence does not warn when the speaker is not there. `n_clips` counts line-ups.
    """
    there = table["present"].to_numpy()
    means = {"hits": ("right", there), "present": ("confident", there), "absent": ("confident", ~there)}
    found = {
        name: bootstrap.interval(table.loc[rows, column], table.loc[rows, "speaker"], resampling, share=True)
        for name, (column, rows) in means.items()
    }
    found["auc"] = bootstrap.auc(table["confident"], there, table["speaker"], resampling)
    return pd.DataFrame.from_dict({name: estimate.row() for name, estimate in found.items()}, orient="index")


def calibration(table: pd.DataFrame, edges: Float[np.ndarray, "edges"], resampling: Resampling) -> pd.DataFrame:
    """From `choices`: share right by confidence, with the speaker `always` present, and in `half` of the line-ups."""
    rows = []
    for name, part in (("always", table[table["present"]]), ("half", table)):
        for _, inside in part.groupby(np.digitize(part["confident"], edges[1:-1])):
            right = bootstrap.interval(inside["right"], inside["speaker"], resampling, share=True)
            rows.append({"speaker_there": name, "confident": inside["confident"].mean()} | right.row())
    return pd.DataFrame(rows)
