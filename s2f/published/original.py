"""What the authors' model drew, measured in one set of their samples: tables with a row for each kind of picture.

Kinds are `f2f`, what their decoder draws from the true face, and `exg0`, `exg0.7`, `exg1.4`, what their model draws
from the voice, more and more exaggerated.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.data.sources.published import Samples
from s2f.heads import ridge
from s2f.heads.ridge import Fold
from s2f.metrics import bootstrap, diversity, paired, similarity
from s2f.metrics import craniofacial as craniofacial_metrics
from s2f.metrics.bootstrap import Resampling
from s2f.signal import colour, landmarks

# Measures without a unit: they compare pictures of different scale.
RATIOS = tuple(name for name in landmarks.MEASURES if name.endswith(("idx", "index")))


def systems(sample: Samples, fold: Fold) -> dict[str, paired.Scores]:
    """The scores of every kind of drawn face against the true faces: less the means, and by plain distance."""
    true, drawn = sample["true.feature"], {kind: sample[f"{kind}.feature"] for kind in sample.drawn}
    centred = {kind: ridge.scores(features, true, fold) for kind, features in drawn.items()}
    plain = {f"{kind}, distance": similarity.pairwise(features, true, "l2") for kind, features in drawn.items()}
    return centred | plain


def people(sample: Samples) -> pd.DataFrame:
    """The `sex` and `age_band` of everybody: the authors' annotation where there is one, else what a network sees."""
    seen, annotated = sample.looks()[["sex", "age_band"]], sample.people[["sex", "age_band"]]
    return annotated.where(annotated.notna(), seen)


def strata(sample: Samples) -> pd.DataFrame:
    """Labels within which to match: sex, age band, both; where it is annotated, ethnicity, and sex and ethnicity."""
    labels = people(sample)
    labels = labels.assign(sex_and_age_band=labels["sex"] + " " + labels["age_band"])
    ethnicity = sample.people["ethnicity"]
    if ethnicity.isna().all():
        return labels
    return labels.assign(ethnicity=ethnicity, sex_and_ethnicity=labels["sex"] + " " + ethnicity)


def common(labels: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Labels with those of fewer than `minimum` people put together as `others`."""
    counts = labels.apply(lambda column: column.map(column.value_counts()))
    return labels.where(counts >= minimum, "others")


def craniofacial(
    sample: Samples, true: str, names: Sequence[str], resampling: Resampling, permutations: int
) -> pd.DataFrame:
    """Correlations of measures between pictures of kind `true` and each other kind, of everybody and within a sex."""
    kept = [landmarks.MEASURES.index(name) for name in names]
    measured = {kind: landmarks.measures(sample[f"{kind}.landmarks"])[:, kept] for kind in ("true", *sample.drawn)}
    options = names, sample.who, resampling, people(sample)["sex"], permutations
    tables = {
        kind: craniofacial_metrics.craniofacial(measured[true], measured[kind], *options)
        for kind in sample.drawn
        if kind != true
    }
    return pd.concat(tables, names=["kind"]).reset_index("kind")


def spread(sample: Samples, resampling: Resampling) -> pd.DataFrame:
    """What drawing does to the spread of faces (`diversity.spread`), and `from_mean`, the distance to the mean face."""
    who, rows = sample.who, []
    for kind in sample.drawn:
        drawn = sample[f"{kind}.feature"]
        estimates = diversity.spread(sample["true.feature"], drawn, who, resampling)
        estimates["from_mean"] = bootstrap.interval(np.linalg.norm(drawn - drawn.mean(axis=0), axis=1), who, resampling)
        rows += [{"kind": kind, "what": what} | estimate.row() for what, estimate in estimates.items()]
    return pd.DataFrame(rows)


def duplicates(sample: Samples, near: float) -> dict[str, int | float]:
    """How near the true faces of different people come: the same picture, nearer than `near`, and the nearest of all.

    Beside it stands the median distance of two clips of the same person (NaN where nobody has two), by which to judge.
    """
    apart = diversity.neighbours(sample["true.feature"], sample.who)
    within = diversity.within(sample.arrays["true.feature"], sample.clips["person"])
    return {
        "people": len(apart),
        "same_picture": int((apart == 0).sum()),
        "near": int((apart < near).sum()),
        "nearest": apart.min(),
        "same_person_median": np.median(within) if len(within) else np.nan,
        "same_person_pairs": len(within),
    }


def tones(sample: Samples, resampling: Resampling) -> pd.DataFrame:
    """Skin tone of the face drawn from the voice on that of the face drawn from the picture, for both angles."""
    rows = []
    for kind in sample.kinds:
        for angle, x, y in zip(colour.ANGLES, sample["f2f.skin"].T, sample[f"{kind}.skin"].T, strict=True):
            sides = x, y, sample.who, resampling
            estimates = {
                "slope": bootstrap.slope(*sides),
                "r": bootstrap.correlation(*sides),
                "variance_ratio": bootstrap.variance_ratio(*sides),
                "difference": bootstrap.interval(y - x, sample.who, resampling),
            }
            rows += [{"kind": kind, "angle": angle, "what": w} | estimate.row() for w, estimate in estimates.items()]
    return pd.DataFrame(rows)


TRAITS = (*landmarks.MEASURES, *colour.ANGLES, "apparent_age", "apparent_sex")


def traits(sample: Samples, kind: str) -> Float[np.ndarray, "people traits"]:
    """What a kind of face looks like, a column for each of `TRAITS`: measures in px, tones in degrees, age in years."""
    measures = landmarks.measures(sample[f"{kind}.landmarks"])
    return np.column_stack([measures, sample[f"{kind}.skin"], sample[f"{kind}.age"], sample[f"{kind}.female"]])
