"""The protocols of face-voice association: 1:N matching, verification and retrieval, both ways, stratum by stratum.

Every value stands beside chance, beside observers who know nothing but an attribute (sex; sex and group), and beside
the best possible observer, on the same trials. Ties are shared, so that an embedding that knows nothing scores exactly
chance. Against people of the same sex, group and age (stratum GNA) an attribute is worth nothing.

Matching exists twice. `matching.matching` is the exact expectation over every choice of opponents: no draw adds noise.
Here it goes by lists of trials (`s2f.data.trials`), as the field does: another system can be judged on the same trials,
and ours on published ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from scipy.special import logsumexp

from s2f.data import trials
from s2f.metrics import bootstrap, retrieval, similarity
from s2f.metrics import verification as verification_metrics
from s2f.metrics.bootstrap import Estimate, Resampling
from s2f.metrics.similarity import Metric
from s2f.study.numbers import finite
from s2f.study.paths import UserError

# What the other people of a trial share with its own person: gender, "nationality" (here the group), age band.
STRATA = {
    "U": (),
    "G": ("sex",),
    "N": ("group",),
    "A": ("age_band",),
    "GN": ("sex", "group"),
    "GNA": ("sex", "age_band", "group"),
}
ORACLES = {"sex": ("sex",), "sex_and_group": ("sex", "group")}
SIZES = range(2, 11)
# A block of trials is scored against all its candidates at once, of which only each trial's own are needed.
TRIAL_CHUNK = 32
NOTHING = Estimate(np.nan, np.nan, np.nan, 0, 0, "none", np.empty(0))


class Listeners(NamedTuple):
    """What a study of human listeners found: the share of right answers, from `low` to `high`; chance is 1/2."""

    study: str
    stratum: str
    low: float
    high: float
    basis: str  # the task, and where the number is from

    @property
    def others(self) -> str:
        """The name of the stratum in `retrieval.matching`."""
        return "same " + " and ".join(STRATA[self.stratum]) if STRATA[self.stratum] else "anybody"


# Real voices and faces; tasks, recordings and photographs differ: for orientation, neither a target nor a ceiling.
LISTENERS = (
    Listeners("Nagrani et al. 2018", "U", 0.80, 0.82, "which of two faces; not checked against the paper"),
    Listeners("Kamachi et al. 2003", "G", 0.50, 0.50, "which of two photographs, at chance; the sexes from memory"),
    Listeners("Smith et al. 2016", "G", 0.60, 0.60, "same person or not; after the press"),
    Listeners("Kim et al. 2018", "GN", 0.55, 0.60, "which of two faces, high fifties; not checked against the paper"),
    Listeners("Nagrani et al. 2018", "GNA", 0.55, 0.60, "which of two faces, about .57; not checked against the paper"),
)


class Arm(NamedTuple):
    """A system to be judged: embeddings of queries and of a gallery, a row an item, and a metric of both."""

    queries: pd.DataFrame
    gallery: pd.DataFrame
    metric: Metric = "cosine"

    def reversed(self) -> "Arm":
        """The same system in the other direction: from a face to the voice instead of from a voice to the face."""

        def metric(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
            return similarity.pairwise(gallery, queries, self.metric).T

        return Arm(self.gallery, self.queries, metric)

    def scores(
        self, probes: Iterable[str], candidates: Shaped[np.ndarray, "trials places"]
    ) -> Float[np.ndarray, "trials places"]:
        """Scores of the candidates of each probe, larger when closer; NaN for None."""
        finite(query_feature=self.queries, gallery_feature=self.gallery)
        rows = _rows(self.queries, np.asarray(list(probes), dtype=object))
        there = pd.notna(candidates)
        faces = np.zeros(candidates.shape, dtype=int)
        faces[there] = _rows(self.gallery, candidates[there])
        queries, gallery = self.queries.to_numpy(), self.gallery.to_numpy()
        scores = np.empty(candidates.shape)
        for start in range(0, len(rows), TRIAL_CHUNK):
            part = slice(start, start + TRIAL_CHUNK)
            block = similarity.pairwise(queries[rows[part]], gallery[faces[part].ravel()], self.metric)
            own = np.arange(faces[part].size).reshape(faces[part].shape)
            scores[part] = np.take_along_axis(block, own, axis=1)
        return np.where(there, scores, np.nan)


def _rows(features: pd.DataFrame, items: Shaped[np.ndarray, "items"]) -> Int[np.ndarray, "items"]:
    rows = features.index.get_indexer(items)
    if (rows < 0).any():
        raise UserError(f"There are no features of {items[rows < 0][0]}, which a trial names: pass all of its items.")
    return rows


def strata(people: pd.DataFrame) -> pd.DataFrame:
    """The label of each person (row) in each stratum (column) whose attributes `people` has; empty where unknown."""
    known = {name: columns for name, columns in STRATA.items() if set(columns) <= set(people)}
    return pd.DataFrame({name: _joint(people, columns) for name, columns in known.items()})


def _joint(people: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """A number for each combination of attributes; NaN where one is missing."""
    if not columns:
        return pd.Series(0.0, people.index)
    number = people.groupby(list(columns)).ngroup().astype(float)
    return number.where(number >= 0)


def attribute_arm(people: pd.DataFrame, attributes: Sequence[str], queries: Iterable[str], items: Iterable[str]) -> Arm:
    """An observer who knows these attributes of everybody, and nothing else; `people` by speaker."""
    known = pd.get_dummies(_joint(people, attributes), dtype=float)
    return Arm(*(known.loc[trials.speakers(side)].set_axis(pd.Index(side)) for side in (queries, items)))


def likelihood_arm(
    log_likelihood: pd.DataFrame,
    evidence: Float[np.ndarray, "people"],
    queries: Iterable[str],
    items: Iterable[str],
) -> Arm:
    """The best possible observer with a voice as query: log p(voice | face) - log p(voice).

    `log_likelihood` has a row a voice and a column a face, both by speaker; `evidence` comes from `log_evidence`. Only
    where voices are compared with one another (from face to voice, and at one threshold) does the second term matter.
    """
    table = log_likelihood.to_numpy() - evidence[:, None]

    def metric(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        return table[np.ix_(queries[:, 0].astype(int), gallery[:, 0].astype(int))]

    number = pd.DataFrame({"row": range(len(table))}, index=log_likelihood.index, dtype=float)
    return Arm(*(number.loc[trials.speakers(side)].set_axis(pd.Index(side)) for side in (queries, items)), metric)


def log_evidence(
    log_likelihood: Float[np.ndarray, "voices crowd"],
    labels: Shaped[np.ndarray, "voices"],
    crowd: Shaped[np.ndarray, "crowd"],
) -> Float[np.ndarray, "voices"]:
    """log p(voice) in its stratum: the mean likelihood over the members of a crowd who share its speaker's label."""
    shared = np.asarray(labels)[:, None] == np.asarray(crowd)
    if not shared.any(axis=1).all():
        raise UserError("A speaker shares their stratum with nobody in the crowd: draw a larger population.")
    members = np.where(shared, log_likelihood, -np.inf)
    return logsumexp(members, axis=1) - np.log(shared.sum(axis=1))


def ceiling_arms(
    people: pd.DataFrame,
    crowd: pd.DataFrame,
    own: Float[np.ndarray, "people people"],
    among: Float[np.ndarray, "people crowd"],
    queries: Iterable[str],
    items: Iterable[str],
) -> dict[str, Arm]:
    """The best possible observer of each stratum; they know whom the others resemble.

    `own` and `among` are log p(voice | face) of the voices of `people` (by speaker) with the faces of people and crowd.
    """
    table, arms = pd.DataFrame(own, people.index, people.index), {}
    for stratum, labels in strata(pd.concat([people, crowd[list(people)]])).items():
        evidence = log_evidence(among, labels.iloc[: len(people)], labels.iloc[len(people) :])
        arms[stratum] = likelihood_arm(table, evidence, queries, items)
    return arms


def draw_lists(
    people: pd.DataFrame, voices: Iterable[str], faces: Iterable[str], *, draws: int, seed: int
) -> dict[str, pd.DataFrame]:
    """The trials of every stratum, named as the public lists: `matching_v2f_GN`, `matching_f2v_GN`, `verification_GN`.

    `people` by speaker, with the attributes of `STRATA` that are known; voices and faces are items as in
    `s2f.data.trials`.
    """
    lists = {}
    for stratum, labels in strata(people).items():
        for direction, sides in {"v2f": (voices, faces), "f2v": (faces, voices)}.items():
            lists[f"matching_{direction}_{stratum}"] = trials.matching(
                *sides, labels, size=max(SIZES), draws=draws, seed=seed
            )
        lists[f"verification_{stratum}"] = trials.verification(voices, faces, labels, draws=draws, seed=seed)
    return lists


def evaluate(
    lists: Mapping[str, pd.DataFrame],
    arms: Mapping[str, Arm],
    references: Mapping[str, Arm],
    ceilings: Mapping[str, Arm] | None,
    resampling: Resampling,
    distances: Mapping[str, Arm],
) -> dict[str, pd.DataFrame]:
    """All protocols on lists from `draw_lists`: tables `matching`, `verification` and `retrieval`.

    All arms take voices as queries and are evaluated in both directions; `ceilings` are by stratum (None where the best
    possible observer is not known), `distances` are further arms for retrieval.
    """
    matched, verified, found = {}, {}, {}
    best = {stratum: {"ceiling": arm} for stratum, arm in (ceilings or {}).items()}
    for stratum in (name for name in STRATA if f"verification_{name}" in lists):
        beside = references | best.get(stratum, {})
        verified[stratum] = verification(lists[f"verification_{stratum}"], arms, beside, resampling)
        for direction, sides in _both_ways(arms, beside).items():
            matched[direction, stratum] = matching(lists[f"matching_{direction}_{stratum}"], *sides, resampling)
    for direction, sides in _both_ways(arms | distances, references | best.get("U", {})).items():
        found[direction] = retrieve(*sides, resampling)
    return {
        "matching": _stacked(matched, "direction", "stratum"),
        "verification": _stacked(verified, "stratum"),
        "retrieval": _stacked(found, "direction"),
    }


def _both_ways(*sides: Mapping[str, Arm]) -> dict[str, list[Mapping[str, Arm]]]:
    turned = [{name: arm.reversed() for name, arm in side.items()} for side in sides]
    return {"v2f": list(sides), "f2v": turned}


def _stacked(tables: Mapping, *keys: str) -> pd.DataFrame:
    return pd.concat(tables, names=[*keys, None]).reset_index(list(keys))


def matching(
    table: pd.DataFrame,
    arms: Mapping[str, Arm],
    references: Mapping[str, Arm],
    resampling: Resampling,
    sizes: Sequence[int] = SIZES,
) -> pd.DataFrame:
    """1:N matching: how often the target beats the N - 1 others of a trial; faces tied for first share it.

    A row an arm and N, with chance and the value of each reference. Trials with fewer candidates are left out (NaN when
    none is left). For N = 2 both sides are resampled, for larger N only the probes.
    """
    offered = trials.candidates(table).to_numpy(object)
    people = trials.speakers(offered.ravel()).reshape(offered.shape)
    scores = {name: arm.scores(table["probe"], offered) for name, arm in (arms | references).items()}
    rows = []
    for n in sizes:
        full = pd.notna(offered[:, n - 1]) if n <= offered.shape[1] else np.zeros(len(offered), dtype=bool)
        credit = {name: _credit(part[full, :n]) for name, part in scores.items()}
        beside = {name: pd.Series(credit[name]).mean() for name in references}
        for name in arms:
            estimate = _accuracy(credit[name], people[full, :n], resampling)
            rows.append({"arm": name, "n": n, "chance": 1 / n} | estimate.row() | beside)
    return pd.DataFrame(rows)


def _credit(scores: Float[np.ndarray, "trials places"]) -> Float[np.ndarray, "trials"]:
    """The target (first place) earns 1 when it is best, a share when it ties for best."""
    best = scores.max(axis=1, keepdims=True, initial=-np.inf)
    return (scores[:, 0] == best[:, 0]) / np.maximum((scores == best).sum(axis=1), 1)


def _accuracy(
    credit: Float[np.ndarray, "trials"], people: Shaped[np.ndarray, "trials places"], resampling: Resampling
) -> Estimate:
    if len(credit) == 0:
        return NOTHING
    if people.shape[1] > 2:
        return bootstrap.interval(credit, people[:, 0], resampling, share=True)
    index = bootstrap.number_speakers(people.ravel())
    target, other = index.codes.reshape(people.shape).T
    won, met = np.zeros((2, index.count, index.count))
    np.add.at(won, (target, other), credit)
    np.add.at(met, (target, other), 1)
    return bootstrap.crossed(won, met, len(credit), resampling)


def verification(
    table: pd.DataFrame, arms: Mapping[str, Arm], references: Mapping[str, Arm], resampling: Resampling
) -> pd.DataFrame:
    """AUC and equal error rate (where straight lines between the points of the ROC cross), a row an arm and metric.

    A pair has no direction: arms take voices as queries. Both speakers are resampled; NaN without trials.
    """
    point = replace(resampling, replicates=1)  # references need no interval
    beside = {name: _verified(table, arm, point)["value"] for name, arm in references.items()}
    found = {name: _verified(table, arm, resampling).assign(**beside) for name, arm in arms.items()}
    return pd.concat(found, names=["arm"]).reset_index()


def _verified(table: pd.DataFrame, arm: Arm, resampling: Resampling) -> pd.DataFrame:
    nothing = dict.fromkeys(("auc", "eer"), NOTHING)
    found = verification_metrics.verification(played(table, arm), resampling) if len(table) else nothing
    rows = {name: {"chance": 0.5} | part.row() for name, part in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def played(table: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Trials of `trials.verification` with the score of an arm, as `retrieval.verification` takes them."""
    scores = arm.scores(table["voice"], table[["face"]].to_numpy(object))[:, 0]
    return table[["same"]].assign(query=table["voice_speaker"], face=table["face_speaker"], score=scores)


def retrieve(
    arms: Mapping[str, Arm], references: Mapping[str, Arm], resampling: Resampling, ks: Sequence[int] = (1, 5, 10)
) -> pd.DataFrame:
    """Retrieval of one direction, a row an arm and metric: `map` and `rK`, by queries.

    R@K: the person is among the first K of a gallery with one entry a person, the mean feature of their items. mAP: the
    mean over queries of the average precision of their items among all.
    """
    rows, first = [], next(iter(arms.values()))
    owners, people = (trials.speakers(side.index) for side in (first.queries, first.gallery))
    entries = len(set(people))
    found = {name: _found(arm, ks) for name, arm in (arms | references).items()}
    relevant = (owners[:, None] == people).sum(axis=1)
    chance = {"map": chance_precision(relevant, len(people)).mean()} | {f"r{k}": min(k / entries, 1) for k in ks}
    for name in arms:
        for metric, values in found[name].items():
            estimate = bootstrap.interval(values, owners, resampling, share=True)
            beside = {reference: found[reference][metric].mean() for reference in references}
            rows.append({"arm": name, "metric": metric, "chance": chance[metric]} | estimate.row() | beside)
    return pd.DataFrame(rows)


def _found(arm: Arm, ks: Sequence[int]) -> dict[str, Float[np.ndarray, "queries"]]:
    owners, people = (trials.speakers(side.index) for side in (arm.queries, arm.gallery))
    finite(query_feature=arm.queries, gallery_feature=arm.gallery)  # a mean by pandas would leave NaN out
    templates = arm.gallery.groupby(people).mean()
    queries, own = arm.queries.to_numpy(), _rows(templates, owners)
    ranks = retrieval.ranks(queries, templates.to_numpy(), own, arm.metric)
    precision = []
    for start in range(0, len(queries), retrieval.QUERY_CHUNK):
        part = slice(start, start + retrieval.QUERY_CHUNK)
        scores = similarity.pairwise(queries[part], arm.gallery.to_numpy(), arm.metric)
        precision.append(average_precision(scores, owners[part, None] == people))
    recalls = {f"r{k}": retrieval.recall_at(ranks, min(k, len(templates))) for k in ks}
    return {"map": np.concatenate(precision)} | recalls


def average_precision(
    scores: Float[np.ndarray, "queries items"], relevant: Bool[np.ndarray, "queries items"]
) -> Float[np.ndarray, "queries"]:
    """Average precision of each query, expected over random orders of tied items (McSherry & Najork 2008).

    Every query needs a relevant item. Place j of a tie of t items, r of them relevant, holds a relevant one with
    probability r/t, and then (j - 1)(r - 1)/(t - 1) relevant ones of the tie are before it.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, relevant = (np.take_along_axis(part, order, axis=1) for part in (scores, relevant))
    place = np.arange(scores.shape[1])
    new = np.diff(scores, axis=1, prepend=np.inf) != 0
    start = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    last = np.append(new[:, 1:], np.ones((len(new), 1), dtype=bool), axis=1)
    end = np.flip(np.minimum.accumulate(np.flip(np.where(last, place, len(place)), axis=1), axis=1), axis=1) + 1
    sums = np.pad(np.cumsum(relevant, axis=1), ((0, 0), (1, 0)))
    before = np.take_along_axis(sums, start, axis=1)
    inside, tied = np.take_along_axis(sums, end, axis=1) - before, end - start
    ahead = before + (place - start) * (inside - 1) / np.maximum(tied - 1, 1)
    return (inside / tied * (ahead + 1) / (place + 1)).sum(axis=1) / sums[:, -1]


def chance_precision(relevant: Int[np.ndarray, "queries"], items: int) -> Float[np.ndarray, "queries"]:
    """Average precision of a random order of `items`, of which so many are relevant."""
    harmonic = (1 / np.arange(1, items + 1)).sum()
    return (harmonic + (relevant - 1) / max(items - 1, 1) * (items - harmonic)) / items
