"""Voice to face from a few hundred pairs: regressions on features of pretrained networks, cross-validated by person.

A head never sees the voices or faces of the people it is tested on, and its penalty is chosen among its own training
people. Scores are cosines of features less their mean: what a face has in common with all others tells nobody apart,
and a regression shrinks towards just that.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from s2f.metrics import bootstrap, similarity
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError

Features = Float[np.ndarray, "people dim"]
Blocks = Sequence[Float[np.ndarray, "people _"]]  # features of the same voices of several kinds
Fold = Int[np.ndarray, "people"]

PENALTIES = np.logspace(-2, 3, 16)
WIDTH = 0.5  # of the RBF kernel: of two typical voices, whose squared distance is 2, it is 1/e


def folds(people: Column, count: int, seed: int) -> Fold:
    """The fold of each row: all rows of a person share one, and folds hold as many people, give or take one."""
    names, codes = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 * count:
        raise UserError(f"{len(names)} people are too few for {count} folds: ask for fewer folds.")
    fold = np.arange(len(names)) % count
    np.random.default_rng(seed).shuffle(fold)
    return fold[codes]


def head(widths: Sequence[int], components: int | None = None) -> Pipeline:
    """An untrained ridge regression of standardised inputs, whose blocks (of these widths) count equally.

    Its penalty is the one that predicts left-out rows best. With `components` it is kernel ridge regression (RBF),
    spanned by so many training rows (Nystroem's approximation).
    """
    scale = np.concatenate([np.full(width, (width * len(widths)) ** -0.5) for width in widths])
    weigh = FunctionTransformer(_weigh, kw_args={"scale": scale})
    steps = [SimpleImputer(keep_empty_features=True), StandardScaler(), weigh]
    if components is not None:
        steps.append(Nystroem(gamma=WIDTH, n_components=components, random_state=0))
    return make_pipeline(*steps, RidgeCV(PENALTIES))


def _weigh(values: Features, scale: Float[np.ndarray, "dim"]) -> Features:
    return values * scale


def predict(
    voice: Blocks,
    target: Features,
    fold: Fold,
    components: int | None = None,
    asked: Blocks | None = None,
) -> Float[np.ndarray, "people dim"]:
    """What the other folds' heads say of each voice; `voice` has a block a kind of feature, `target` what to learn.

    With `asked`, such as the beginning of the same recordings, heads learn on `voice` and are asked with that.
    """
    heard = np.hstack(voice).astype(float)
    question = heard if asked is None else np.hstack(asked).astype(float)
    said = np.empty(target.shape)
    for part in np.unique(fold):
        inside = fold == part
        learned = head([block.shape[1] for block in voice], components).fit(heard[~inside], target[~inside])
        said[inside] = learned.predict(question[inside])
    return said


def explained(target: Features, said: Features, people: Column, resampling: Resampling) -> Estimate:
    """R2 over all numbers of a feature together: the part of its variance that the prediction explains."""
    missed = np.square(target - said).sum(axis=1)
    varies = np.square(target - target.mean(axis=0)).sum(axis=1)
    left = bootstrap.ratio(missed, varies, people, resampling)
    return bootstrap.combine(lambda part: 1 - part, left, resampling=resampling)


def scores(said: Features, faces: Features, fold: Fold) -> Float[np.ndarray, "people people"]:
    """Cosine of what is said of each voice and of each face, both less their mean over the other folds."""
    table = np.empty((len(said), len(faces)))
    for part in np.unique(fold):
        inside = fold == part
        centred = said[inside] - said[~inside].mean(axis=0), faces - faces[~inside].mean(axis=0)
        table[inside] = similarity.pairwise(*centred, "cosine")
    return table


def elsewhere(
    voice: Blocks,
    target: Features,
    other_voice: Sequence[Float[np.ndarray, "others _"]],
    other_faces: Float[np.ndarray, "others dim"],
) -> Float[np.ndarray, "others others"]:
    """Scores in another set of people by a head, and less means, that were learned in this one.

    `target` are the true faces of this set, or anything else with the same numbers.
    """
    learned = head([block.shape[1] for block in voice]).fit(np.hstack(voice), target)
    said = learned.predict(np.hstack(other_voice))
    return similarity.pairwise(said - target.mean(axis=0), other_faces - target.mean(axis=0), "cosine")


def learned_scores(
    voice: Blocks, target: Features, faces: Features, fold: Fold, dims: int
) -> Float[np.ndarray, "people people"]:
    """The likelihood ratio of a prediction and a face (`retrieval.LikelihoodRatio`), learned by the other folds.

    Within them, the predictions that it is fitted on are cross-validated as well.
    """
    said = predict(voice, target, fold)
    table = np.empty((len(said), len(faces)))
    for part in np.unique(fold):
        inside = fold == part
        rest = fold[~inside]
        heard = predict([block[~inside] for block in voice], target[~inside], rest)
        ratio = LikelihoodRatio.fit(heard, faces[~inside], dims)
        table[inside] = ratio(said[inside], faces)
    return table
