"""Judges of drawn faces that no system learned from, beside the recognition network that ours is learned with.

A judge is a table of scores: of each drawn face (row) and the true face, or what the authors' decoder draws from it
(column). All take the means of the other folds off, as `ridge.scores` does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

from s2f.heads.ridge import Fold, held_out
from s2f.metrics import bootstrap, paired, similarity
from s2f.metrics.bootstrap import Column, Resampling
from s2f.models import pretrained
from s2f.models.sface import SFace
from s2f.signal.images import read_image

Images = UInt8[np.ndarray, "people size size 3"]


def recognised(
    paths: Sequence[Path], landmarks: Float[np.ndarray, "people 68 2"], threads: int
) -> Float[np.ndarray, "people 128"]:
    """Features of the faces in pictures by SFace; landmarks in px."""
    network = SFace(threads)
    return np.stack([network(read_image(path), points) for path, points in zip(paths, landmarks, strict=True)])


def components(
    drawn: Float[np.ndarray, "people _"], canonical: Float[np.ndarray, "people _"], fold: Fold, count: int
) -> paired.Scores:
    """Cosines in the whitened principal components of canonical faces, which are learned on the other folds."""
    table = np.empty((len(drawn), len(canonical)))
    for test in held_out(fold):
        judge = PCA(count, whiten=True, svd_solver="randomized", random_state=0).fit(canonical[~test])
        queries, gallery = judge.transform(drawn), judge.transform(canonical)
        centred = queries[test] - queries[~test].mean(axis=0), gallery - gallery[~test].mean(axis=0)
        table[test] = similarity.pairwise(*centred, "cosine")
    return table


def flat(pictures: Images, step: int = 2) -> Float[np.ndarray, "people _"]:
    """Pictures as rows of numbers, squares of `step` pixels averaged."""
    people, size = pictures.shape[:2]
    squares = pictures.reshape(people, size // step, step, size // step, step, 3)
    return squares.mean(axis=(2, 4), dtype=np.float32).reshape(people, -1)


def compare(
    systems: Mapping[str, Mapping[str, paired.Scores]],
    reference: str,
    gallery: int,
    resampling: Resampling,
    strata: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """1:2 matching (`paired.matching`) and R@K in galleries of so many faces, a row for each `judge` and system."""
    matching = {j: paired.matching(tables, reference, resampling, strata) for j, tables in systems.items()}
    recall = {j: paired.recall(tables, reference, (1, 2, 5, 10), gallery, resampling) for j, tables in systems.items()}
    return tuple(pd.concat(part, names=["judge"]).reset_index("judge") for part in (matching, recall))


def likeness(drawn: Images, canonical: Images, people: Column, resampling: Resampling) -> pd.DataFrame:
    """How like the canonical pictures the drawn ones are: `ssim` (Wang et al., 2004) and `psnr` (dB), a row each."""
    pretrained.folder("skimage")
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    pairs = list(zip(drawn, canonical, strict=True))
    values = {
        "ssim": [structural_similarity(*pair, channel_axis=2) for pair in pairs],
        "psnr": [peak_signal_noise_ratio(*pair) for pair in pairs],
    }
    rows = {what: bootstrap.interval(np.array(each), people, resampling).row() for what, each in values.items()}
    return pd.DataFrame(rows.values(), index=pd.Index(rows, name="what")).reset_index()


def frechet(drawn: Float[np.ndarray, "people dim"], true: Float[np.ndarray, "others dim"]) -> float:
    """Fréchet distance of two sets of features as normal distributions (Heusel et al., 2017)."""
    spreads = np.cov(drawn.T), np.cov(true.T)
    root = sqrtm(spreads[0] @ spreads[1]).real
    return float(np.square(drawn.mean(axis=0) - true.mean(axis=0)).sum() + np.trace(sum(spreads) - 2 * root))
