"""Voice to face from a few hundred pairs: regressions on features of pretrained networks, cross-validated by person.

A regression never learns from the people it is tested on, and its penalty is chosen among its own training people.
Scores are cosines of features less their mean: what a face has in common with all others tells nobody apart, and a
regression shrinks towards just that.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from s2f.metrics import bootstrap, similarity
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.numbers import finite
from s2f.study.paths import UserError

Features = Float[np.ndarray, "people dim"]
Blocks = Sequence[Float[np.ndarray, "people _"]]  # features of the same voices, an array for each kind
Fold = Int[np.ndarray, "people"]

PENALTIES = tuple(np.logspace(-2, 3, 16).tolist())
WIDTH = 0.5  # of the RBF kernel: of two typical voices, whose squared distance is 2, it is 1/e


def folds(people: Column, count: int, seed: int) -> Fold:
    """The fold of each row: all rows of a person share one, and folds hold as many people, give or take one."""
    names, codes = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 * count:
        raise UserError(f"{len(names)} people are too few for {count} folds: ask for fewer folds.")
    fold = np.arange(len(names)) % count
    np.random.default_rng(seed).shuffle(fold)
    return fold[codes]


def held_out(fold: Fold) -> Iterator[Bool[np.ndarray, "people"]]:
    """The people of one fold after another, as masks."""
    return (fold == part for part in np.unique(fold))


def regression(
    widths: Sequence[int], components: int | None = None, penalties: Sequence[float] = PENALTIES
) -> Pipeline:
    """An untrained ridge regression of standardised inputs, whose blocks (of these widths) count equally.

    Its penalty is the one of `penalties` that predicts left-out rows best. With `components` it is kernel ridge
    regression (RBF), spanned by so many training rows (Nystroem's approximation).
    """
    scale = np.concatenate([np.full(width, (width * len(widths)) ** -0.5) for width in widths])
    weigh = FunctionTransformer(_weigh, kw_args={"scale": scale})
    steps = [SimpleImputer(keep_empty_features=True), StandardScaler(), weigh]
    if components is not None:
        steps.append(Nystroem(gamma=WIDTH, n_components=components, random_state=0))
    return make_pipeline(*steps, RidgeCV(penalties))


def _weigh(values: Features, scale: Float[np.ndarray, "dim"]) -> Features:
    return values * scale


def fit(
    voice: Blocks, target: Features, components: int | None = None, penalties: Sequence[float] = PENALTIES
) -> Pipeline:
    """The regression of `target` on these voices (see `regression`).

    NaN in a voice feature is unknown: the mean of the others stands in. UserError for infinity, and for a target that
    is not finite.
    """
    finite(
        target=target,
        **{
            f"voice_feature_{place}": np.nan_to_num(block, posinf=np.inf, neginf=-np.inf)
            for place, block in enumerate(voice, 1)
        },
    )
    return regression([block.shape[1] for block in voice], components, penalties).fit(np.hstack(voice), target)


def predict(
    voice: Blocks,
    target: Features,
    fold: Fold,
    components: int | None = None,
    queries: Blocks | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> Features:
    """Out-of-fold predictions of `target`.

    Args:
        voice: features of the voices, an array for each kind.
        target: what to predict, such as the features of the true faces.
        fold: the fold of each person.
        components: of kernel ridge regression; None is linear.
        queries: other voices of the same people to predict from, such as the beginning of the same recordings.
        penalties: among which each regression chooses.
    """
    queries, predicted = np.hstack(voice if queries is None else queries), np.empty(target.shape)
    for test in held_out(fold):
        others = [block[~test] for block in voice], target[~test]
        predicted[test] = fit(*others, components, penalties).predict(queries[test])
    return predicted


def nested(voice: Blocks, target: Features, fold: Fold) -> dict[int, Features]:
    """Predictions for a second stage of learning: an array for each fold, from which none of it has learned.

    Its rows of the fold are out-of-fold predictions; those of the other people are cross-validated among themselves, so
    that a second stage learns from predictions as uncertain as those it is tested with.
    """
    predictions = {}
    for test in held_out(fold):
        others = [block[~test] for block in voice], target[~test]
        predictions[int(fold[test][0])] = rows = np.empty(target.shape)
        rows[test] = fit(*others).predict(np.hstack(voice)[test])
        rows[~test] = predict(*others, fold[~test])
    return predictions


def explained(target: Features, predicted: Features, people: Column, resampling: Resampling) -> Estimate:
    """R2 over all numbers of a feature together: the part of its variance that the prediction explains."""
    missed = np.square(target - predicted).sum(axis=1)
    varies = np.square(target - target.mean(axis=0)).sum(axis=1)
    left = bootstrap.ratio(missed, varies, people, resampling)
    return bootstrap.combine(lambda part: 1 - part, left, resampling=resampling)


def scores(predicted: Features, faces: Features, fold: Fold) -> Float[np.ndarray, "people people"]:
    """Cosine of each prediction (row) and each face (column), both less their mean over the other folds."""
    finite(predicted_feature=predicted, face_feature=faces)
    table = np.empty((len(predicted), len(faces)))
    for test in held_out(fold):
        centred = predicted[test] - predicted[~test].mean(axis=0), faces - faces[~test].mean(axis=0)
        table[test] = similarity.pairwise(*centred, "cosine")
    return table


def scores_elsewhere(
    voice: Blocks,
    target: Features,
    other_voice: Sequence[Float[np.ndarray, "others _"]],
    other_faces: Float[np.ndarray, "others dim"],
) -> Float[np.ndarray, "others others"]:
    """Scores in another set of people, by a regression, and less means, that were learned in this one."""
    predicted = fit(voice, target).predict(np.hstack(other_voice))
    return similarity.pairwise(predicted - target.mean(axis=0), other_faces - target.mean(axis=0), "cosine")


def likelihood_ratio_scores(
    nested: Mapping[int, Features], faces: Features, fold: Fold, dims: int
) -> Float[np.ndarray, "people people"]:
    """Likelihood ratio of each prediction and each face in `dims` directions, fitted on the other folds.

    `nested` are the predictions of `ridge.nested`.
    """
    table = np.empty((len(faces), len(faces)))
    for part, predicted in nested.items():
        test = fold == part
        table[test] = LikelihoodRatio.fit(predicted[~test], faces[~test], dims)(predicted[test], faces)
    return table
