"""Trained on one language, tested on both (protocol of the FAME challenge): the cost of an unheard language."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.data import trials
from s2f.metrics import bootstrap, protocols, retrieval, verification
from s2f.metrics.bootstrap import Estimate, Resampling
from s2f.metrics.protocols import Arm
from s2f.study.paths import UserError


def as_many_of_each(clips: pd.DataFrame) -> pd.DataFrame:
    """In each split, the clips of the same number of speakers of each language: the first ones, in the same order.

    `clips` are rows of the manifest in the languages that are compared.
    """
    cell = clips.groupby(["split", "language"])["speaker_id"]
    number = cell.transform(lambda speakers: pd.factorize(speakers)[0])
    fewest = cell.nunique().groupby("split").min()
    return clips[number < clips["split"].map(fewest)]


def judged(table: pd.DataFrame, arm: Arm, resampling: Resampling) -> dict[str, Estimate]:
    """Equal error rate (`eer`) and `auc` of the verification trials in `table`, and 1:2 `matching` of all queries.

    The trials are those of `trials.verification`. In matching each voice is compared with every other face of the
    gallery, which holds one face for each person.
    """
    queries, gallery = (trials.speakers(side.index) for side in (arm.queries, arm.gallery))
    own = pd.Index(gallery).get_indexer(queries)
    ranks = retrieval.ranks(arm.queries.to_numpy(), arm.gallery.to_numpy(), own, arm.metric)
    matching = bootstrap.interval(ranks.wins, queries, resampling, share=True)
    return verification.verification(protocols.played(table, arm), resampling) | {"matching": matching}


def crossed(cells: Mapping[tuple[str, str], Estimate], resampling: Resampling) -> pd.DataFrame:
    """The table of heard and unheard languages, from the score of each (language of training, language of test).

    A row for each cell (`trained`, `tested`); then, for `both` trainings, the mean of the cells of the `heard`
    language, of the `unheard` one, and of `all` (the score of FAME, if these are equal error rates); and for each
    training and for both the difference `heard_less_unheard`. All cells are of the same speakers, who are resampled
    together.
    UserError for a missing cell.
    """
    languages = list(dict.fromkeys(trained for trained, _ in cells))
    if missing := [(a, b) for a in languages for b in languages if (a, b) not in cells]:
        raise UserError(f"No score of the training on {missing[0][0]} in {missing[0][1]}: pass one for each pair.")
    heard = {(a, b): part for (a, b), part in cells.items() if a == b}
    unheard = {(a, b): part for (a, b), part in cells.items() if a != b}
    found = {**cells}
    for tested, parts in {"heard": heard, "unheard": unheard, "all": cells}.items():
        found["both", tested] = bootstrap.combine(_mean, *parts.values(), resampling=resampling)
    for trained in [*languages, "both"]:
        sides = [[part for (a, _), part in side.items() if trained in (a, "both")] for side in (heard, unheard)]
        means = [bootstrap.combine(_mean, *side, resampling=resampling) for side in sides]
        found[trained, "heard_less_unheard"] = bootstrap.combine(np.subtract, *means, resampling=resampling)
    return pd.DataFrame([{"trained": a, "tested": b} | part.row() for (a, b), part in found.items()])


def _mean(*parts: float | Float[np.ndarray, "replicates"]) -> float | Float[np.ndarray, "replicates"]:
    return np.mean(parts, axis=0)
