"""The embedding space: exaggerated faces, failures and what they have in common, projections."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from scipy.spatial.distance import pdist, squareform
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_limits

from s2f.metrics import bootstrap
from s2f.metrics.attributes import attribute_classifier
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.craniofacial import Measures
from s2f.metrics.gallery import Gallery
from s2f.metrics.retrieval import ranks, recall_at
from s2f.metrics.similarity import Features, angles, unit_rows
from s2f.signal.landmarks import measures
from s2f.study.numbers import finite
from s2f.study.paths import UserError

METHODS = ("PCA", "t-SNE", "UMAP")


def exaggerated(features: Features, mean: Float[np.ndarray, "dim"], k: float) -> Features:
    """v + k (v - mean): features further from the mean face feature; most published faces have k = 0.7 or 1.4."""
    return features + k * (features - mean)


def readings(seen: Features, labels: pd.DataFrame, arms: Mapping[str, Features]) -> dict[str, pd.DataFrame]:
    """Attributes predicted for the faces of each arm, by classifiers fitted on true faces (`seen`, `labels`).

    A column per attribute; for one that is no number also `<attribute>_certainty`, the probability of the prediction.
    """
    finite(**{f"feature_of_{arm}": features for arm, features in arms.items()})
    judges = {name: attribute_classifier(seen, labels[name]) for name in labels}
    read: dict[str, pd.DataFrame] = {}
    for arm, features in arms.items():
        columns = {name: judge.predict(features) for name, judge in judges.items()}
        columns |= {
            f"{name}_certainty": judge.predict_proba(features).max(axis=1)
            for name, judge in judges.items()
            if hasattr(judge, "predict_proba")
        }
        read[arm] = pd.DataFrame(columns)
    return read


def confidence(
    true: Column, read: Column, certainty: Column, speakers: Column, resampling: Resampling
) -> dict[str, Estimate]:
    """Accuracy and mean certainty of the predicted labels `read`, and `overconfidence`: certainty less accuracy."""
    right, certainty = (np.asarray(true) == np.asarray(read)).astype(float), np.asarray(certainty)
    return {
        "accuracy": bootstrap.interval(right, speakers, resampling, share=True),
        "certainty": bootstrap.interval(certainty, speakers, resampling, share=True),
        "overconfidence": bootstrap.interval(certainty - right, speakers, resampling),
    }


def pixel_sd(faces: UInt8[np.ndarray, "clips size size 3"], speakers: Column, resampling: Resampling) -> Estimate:
    """Standard deviation of a pixel across faces (levels of 0 to 255), root mean square over pixels and colours.

    The mean of the squares, not of the deviations: their sum over pixels needs only products of speakers' sums.
    """
    index = bootstrap.number_speakers(speakers, faces=faces)
    flat = faces.reshape(len(faces), -1).astype(float)
    flat -= flat.mean(axis=0)  # or the difference of sums below would lose digits
    sums = np.zeros((index.count, flat.shape[1]))
    np.add.at(sums, index.codes, flat)
    products, clips = sums @ sums.T, np.bincount(index.codes)
    squares = np.bincount(index.codes, np.square(flat).sum(axis=1))

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        n = weights @ clips
        variance = weights @ squares / n - ((weights @ products) * weights).sum(axis=1) / n**2
        return np.sqrt(np.maximum(variance, 0) / flat.shape[1])

    return bootstrap.bootstrap(statistic, len(faces), index.count, resampling)


def mean_correlation(true: Measures, drawn: Measures, speakers: Column, resampling: Resampling) -> Estimate:
    """Pearson's r of true and drawn craniofacial measures, averaged over the measures: Fig. 5(c) as one number."""
    finite(true_measure=true, drawn_measure=drawn)
    x, y = (np.stack([bootstrap.standardised(c) for c in side.T.astype(float)], axis=1) for side in (true, drawn))
    columns = np.hstack([np.ones_like(x), x, y, x * x, y * y, x * y])

    def mean_r(sums: Float[np.ndarray, "replicates columns"]) -> Float[np.ndarray, "replicates"]:
        n, x, y, xx, yy, xy = np.split(sums, 6, axis=1)
        spread = np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0))
        return np.where(spread > 0, (n * xy - x * y) / np.where(spread > 0, spread, 1), 0).mean(axis=1)

    return bootstrap.from_sums(columns, mean_r, speakers, resampling)


def appearance(
    images: Mapping[str, UInt8[np.ndarray, "clips size size 3"]],
    landmarks: Mapping[str, Float[np.ndarray, "clips 68 2"]],
    read: Mapping[str, pd.DataFrame],
    true: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
) -> pd.DataFrame:
    """Appearance of the faces of each arm: an estimate per arm and measure.

    Measures: `pixel_sd`, and its `pixel_sd_ratio` to the arm `from_face`; `craniofacial_r`, the mean correlation of 13
    measures (Fig. 5(c)) with those of the arm `true_face`; for each attribute (column of `true`), `_accuracy`,
    `_certainty` and `_overconfidence` of the predictions `read` (by `readings`).
    """
    spread = {arm: pixel_sd(faces, speakers, resampling) for arm, faces in images.items()}
    truth = measures(landmarks["true_face"])
    rows = {}
    for arm, table in read.items():
        found = {
            "pixel_sd": spread[arm],
            "pixel_sd_ratio": bootstrap.combine(np.divide, spread[arm], spread["from_face"], resampling=resampling),
            "craniofacial_r": mean_correlation(truth, measures(landmarks[arm]), speakers, resampling),
        }
        for name in true:
            parts = confidence(true[name], table[name], table[f"{name}_certainty"], speakers, resampling)
            found |= {f"{name}_{what}": estimate for what, estimate in parts.items()}
        rows |= {(arm, measure): estimate.row() for measure, estimate in found.items()}
    return _table(rows, "arm", "measure")


def similarity(
    moved: Mapping[str, Features], true: Features, gallery: Gallery, size: int, speakers: Column, resampling: Resampling
) -> pd.DataFrame:
    """Similarity of the embeddings of each arm to the `true` ones: an estimate per arm and measure.

    Measures: `angle_deg`; `recall_at_10` of `size` and `matching_1_of_2` by cosine in the gallery; each with its paired
    `difference` (with interval) from the first arm.
    """
    ranked = {arm: ranks(features, gallery.faces, gallery.own, "cosine") for arm, features in moved.items()}
    values = {
        "angle_deg": {arm: angles(features, true) for arm, features in moved.items()},
        "recall_at_10": {arm: recall_at(place, 10, size) for arm, place in ranked.items()},
        "matching_1_of_2": {arm: 1 - (place.expected - 1) / place.others for arm, place in ranked.items()},
    }
    tables = {what: bootstrap.against(arms, next(iter(moved)), speakers, resampling) for what, arms in values.items()}
    return pd.concat(tables, names=["measure", "arm"]).swaplevel()


def severity(true: pd.DataFrame, read: pd.DataFrame, years: float) -> pd.DataFrame:
    """How badly each face fails in the four ways of Fig. 12 of the paper; NaN where it does not.

    `sex`, `group`: read wrong, and with what certainty. `too_young`, `too_old`: age missed by more than `years`, and by
    how many. `true` and `read` (from `readings`) hold those of sex, group and age that are known, a row a face.
    """
    failures = {
        name: read[f"{name}_certainty"].where(read[name].to_numpy() != true[name].to_numpy())
        for name in ("sex", "group")
        if name in read
    }
    if "age" in read:
        older = read["age"].to_numpy() - true["age"].to_numpy()
        failures["too_young"] = np.where(older < -years, -older, np.nan)
        failures["too_old"] = np.where(older > years, older, np.nan)
    return pd.DataFrame(failures)


def rates(severe: Mapping[str, pd.DataFrame], speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Share of faces that fail, by kind and arm, from the `severity` of each arm."""
    rows = {
        (kind, arm): bootstrap.interval(table[kind].notna(), speakers, resampling, share=True).row()
        for kind in next(iter(severe.values()))
        for arm, table in severe.items()
    }
    return _table(rows, "kind", "arm")


def worst(severe: pd.Series, speakers: Column, count: int) -> Int[np.ndarray, "shown"]:
    """Rows of the `count` worst failures, each of another speaker; fewer where fewer speakers fail."""
    failed = pd.DataFrame({"severity": severe.to_numpy(), "speaker": np.asarray(speakers)}).dropna()
    ordered = failed.sort_values("severity", ascending=False, kind="stable")
    return ordered.drop_duplicates("speaker").index[:count].to_numpy()


def voice_traits(clips: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """Traits of a voice that may mislead, from clips and what is known `about` their speakers.

    Pitch (semitones) and tract length (cm) are measured from the mean of the own sex towards that of the other.
    """
    return pd.DataFrame(
        {
            "pitch_towards_other_sex": towards_other_sex(12 * np.log2(clips["true_f0_hz"]), about["sex"]),
            "tract_towards_other_sex": towards_other_sex(clips["true_vtl_cm"], about["sex"]),
            "another_groups_language": about["mismatched"].to_numpy(float),
            "sounds_older_years": (about["vocal_age"] - about["age"]).to_numpy(),
        }
    )


def towards_other_sex(values: Column, sex: Column) -> Float[np.ndarray, "clips"]:
    """Distance of each value from the mean of its own sex, positive towards that of the other; UserError unless two."""
    values, sex = pd.Series(np.asarray(values, dtype=float)), np.asarray(sex)
    means = values.groupby(sex).mean()
    if len(means) != 2:
        raise UserError(f"The column sex holds {list(means.index)}: pass clips of two sexes.")
    own = means.loc[sex].to_numpy()
    return (values.to_numpy() - own) * np.sign(means.sum() - 2 * own)


def in_common(severe: pd.DataFrame, traits: pd.DataFrame, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Mean of each trait among clips that `failed` in some way and among the `others`; `value` is the difference.

    An association, not a cause. NaN where no clip failed.
    """
    rows = {}
    for kind in severe:
        failed = severe[kind].notna().to_numpy()
        for name in traits:
            sides = [bootstrap.interval(traits[name], speakers, resampling, weights=side) for side in (failed, ~failed)]
            difference = bootstrap.difference(*sides, resampling)
            rows[kind, name] = {"failed": sides[0].value, "others": sides[1].value} | difference.row()
    return _table(rows, "kind", "trait")


class Projection(NamedTuple):
    """A map of features in the plane."""

    points: Float[np.ndarray, "n 2"]
    trustworthiness: float  # 1 if neighbours on the map are neighbours in the space, about 0.5 for a random map


def project(features: Features, method: str, seed: int, perplexity: float, neighbours: int) -> Projection:
    """Project embeddings to the plane (Fig. 14 of the paper), by PCA, t-SNE (`perplexity`) or UMAP (`neighbours`).

    They are compared by angle, as in retrieval: their lengths are set to one. Trustworthiness (Venna & Kaski,
    2001) looks at as many `neighbours`. The same seed gives the same bytes. UserError if there are too few features.
    """
    finite(feature=features)
    if len(features) <= max(perplexity, 2 * neighbours):
        wanted = f"perplexity {perplexity:g} and {neighbours} neighbours"
        raise UserError(f"{len(features)} features are too few for {wanted}: lower both.")
    unit = unit_rows(features)
    with threadpool_limits(1):  # what several threads sum is rounded in the order in which they finish
        points = _estimator(method, seed, perplexity, neighbours).fit_transform(unit).astype(float)
    return Projection(points, float(trustworthiness(unit, points, n_neighbors=neighbours)))


def _estimator(method: str, seed: int, perplexity: float, neighbours: int) -> BaseEstimator:
    if method == "PCA":
        return PCA(2, svd_solver="full")
    if method == "t-SNE":
        return TSNE(perplexity=perplexity, random_state=seed)
    if method == "UMAP":
        with warnings.catch_warnings():
            # It says on import that one of its classes needs TensorFlow; we do not use that one.
            warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
            from umap import UMAP  # here, because it takes seconds that only this needs
        return UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    raise UserError(f"The projection {method!r} is not known: use one of {', '.join(METHODS)}.")


def separation(
    sides: Mapping[str, Features], labels: pd.DataFrame, permutations: int, resampling: Resampling
) -> pd.DataFrame:
    """Silhouette of each label in each space (`sides`, one row per speaker), compared by angle.

    1 where labels are far apart, 0 where they mix. The interval is that of the mean over speakers, given the clusters.
    `chance` is the mean with permuted labels (below 0: of several clusters, one is near by chance), `chance_p95` its
    95th percentile, `p` the permutation test. UserError if a label has one value only.
    """
    rows = {}
    for side, features in sides.items():
        finite(**{f"feature_of_{side}": features})
        apart = squareform(pdist(unit_rows(features)))
        for name in labels:
            values, codes = np.unique(labels[name], return_inverse=True)
            if len(values) < 2:
                raise UserError(f"All speakers have {name} {values[0]}: leave it out of the labels.")
            estimate = bootstrap.interval(silhouettes(apart, codes), np.arange(len(codes)), resampling)
            rng = np.random.default_rng(resampling.seed)
            null = np.array([silhouettes(apart, rng.permutation(codes)).mean() for _ in range(permutations)])
            p = (1 + (null >= estimate.value).sum()) / (1 + permutations)
            row = {"chance": null.mean(), "chance_p95": np.quantile(null, 0.95), "p": p}
            rows[side, name] = row | estimate.row()
    return _table(rows, "side", "label")


def silhouettes(apart: Float[np.ndarray, "n n"], codes: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Silhouette of each point, from all distances; 0 for a point alone in its cluster.

    Those of scikit-learn; its function checks its input for longer than it computes, and we shuffle thousands of times.
    """
    members = np.eye(codes.max() + 1)[codes]
    sizes, to_each = members.sum(axis=0), apart @ members
    own = np.arange(len(codes)), codes
    mates = sizes[codes] - 1
    within = to_each[own] / np.maximum(mates, 1)
    others = to_each / sizes
    others[own] = np.inf
    nearest = others.min(axis=1)
    larger = np.maximum(within, nearest)
    return np.where(mates > 0, (nearest - within) / np.where(larger > 0, larger, 1), 0.0)


def _table(rows: Mapping[tuple[str, str], Mapping[str, float]], *levels: str) -> pd.DataFrame:
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=levels))
