"""Large galleries: exact ranks among millions of faces in bounded memory, and an approximate index."""

from collections.abc import Iterator, Mapping, Sequence

import faiss
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from torch import Tensor

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.metrics.retrieval import Ranks, recall_at
from s2f.metrics.similarity import paired, unit_rows
from s2f.study.numbers import finite
from s2f.study.paths import UserError

BLOCK = 2048  # gallery rows scored at once: with QUERIES, what bounds the memory
QUERIES = 1024
NEAR = 1e-8  # scores within this part of the largest possible one are computed again, pair by pair
LARGEST = 1e15  # squares of longer rows leave the range of float32
SAMPLE = 4096  # gallery rows from which its centre is estimated
INDEX_BLOCK = 16_384  # rows added to an index at once
PER_CELL = 64  # training rows for each centre of an index


def ranks_by_size(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    true_index: Int[np.ndarray, "queries"],
    sizes: Sequence[int],
    metric: str = "cosine",
) -> dict[int, Ranks]:
    """Rank each query's true face among the first rows of the gallery, for several sizes in one scan.

    Computed in float64: the true faces rank where the gallery is dense, and there lower precision would settle little.
    A matrix product decides all rows but those near the true face, which are scored pair by pair; ties are those of
    `retrieval.ranks`.

    Args:
        queries: embeddings of the voices.
        gallery: embeddings of the faces, of any floating type; may be a memory map.
        true_index: the gallery row of each query's true face, less than every size.
        sizes: numbers of gallery rows.
        metric: "cosine" or "l2".

    Returns:
        Ranks by size, as `retrieval.ranks` gives them.

    Raises:
        UserError: for another metric, mismatched or empty input, a feature that is not finite, or an impossible size.
    """
    _check(queries, gallery, metric)
    last = int(np.max(true_index))
    if not last < min(sizes) <= max(sizes) <= len(gallery):
        raise UserError(f"The sizes {sorted(sizes)} must hold row {last}, a true one, and be at most {len(gallery)}.")
    own = gallery[true_index]
    finite(gallery_feature=pd.DataFrame(own, index=true_index))
    # Up to a scale and a constant of the query, the score of a query and a row is x . y + h:
    # cosine: x = q/|q|, y = g/|g| - c, h = 0; l2: x = q - c, y = g - c, h = -|y|^2 / 2.
    # Any centre c is right; one in the middle of the gallery keeps y short, and with it the rounding errors.
    queries, cosine = queries.astype(float), metric == "cosine"
    centre = _centre(gallery, metric)
    x = unit_rows(queries) if cosine else queries - centre
    target = paired(queries, own, metric)
    largest = np.ones(len(x)) if cosine else np.square(np.linalg.norm(x, axis=1) + np.sqrt(-target))

    def bound(scores: Float64[np.ndarray, "queries"]) -> Float64[Tensor, "queries 1"]:
        value = scores - x @ centre if cosine else (scores + np.square(x).sum(1)) / 2
        return torch.from_numpy(value)[:, None]

    low, high = (bound(target + sign * NEAR * largest) for sign in (-1, 1))
    above, equal = np.zeros((2, len(x)), np.int64)
    ranks, done = {}, 0
    for size in sorted(sizes):
        for rows, block, norm in _blocks(gallery, metric, done, size):
            y, h = _centred(block, norm, centre, metric)
            for part in _slices(len(x), QUERIES):
                values = torch.addmm(h, torch.from_numpy(x[part]), y.T)
                over, reached = values > high[part], values >= low[part]
                ahead, within = over.count_nonzero(dim=1), reached.count_nonzero(dim=1)
                above[part] += ahead.numpy()
                if (ahead != within).any():
                    who, faces = (reached ^ over).nonzero().numpy().T
                    who, faces = who + part.start, faces + rows.start
                    for some in _slices(len(who), BLOCK):
                        one, other = who[some], faces[some]
                        scores = paired(queries[one], gallery[other], metric)
                        np.add.at(above, one, scores > target[one])
                        np.add.at(equal, one, scores == target[one])
        # The true row ties with itself.
        ranks[size], done = Ranks(above.copy(), equal - 1, size - 1), size
    return ranks


def _centre(gallery: Float[np.ndarray, "gallery dim"], metric: str) -> Float64[np.ndarray, "dim"]:
    """The median of a sample of the rows, of unit length for cosine, rounded to float32; no outlier moves it far."""
    sample = gallery[:: -(-len(gallery) // SAMPLE)].astype(float)
    sample = unit_rows(sample) if metric == "cosine" else sample
    return np.median(sample, axis=0).astype(np.float32).astype(float)


def _centred(
    block: Float[Tensor, "rows dim"], norm: Float64[Tensor, "rows"], centre: Float64[np.ndarray, "dim"], metric: str
) -> tuple[Float64[Tensor, "rows dim"], Float64[Tensor, "rows"]]:
    """y and h of `ranks_by_size`."""
    block, centre = block.double(), torch.from_numpy(centre)
    if metric == "cosine":
        scale = torch.where(norm > 0, norm, 1)
        return block / scale[:, None] - centre, torch.zeros_like(scale)
    y = block - centre
    return y, y.square().sum(1) / -2


def recall_by_size(
    arms: Mapping[str, Mapping[int, Ranks]],
    references: Mapping[str, Mapping[int, Ranks]],
    sizes: Sequence[int],
    speakers: Column,
    resampling: Resampling,
) -> pd.DataFrame:
    """Retrieval in galleries of several sizes, one row for each arm, size and measure.

    A size below an arm's smallest is an exact expectation over which of the other faces are left.

    Args:
        arms: ranks by size of each arm, as `ranks_by_size` gives them; an arm without ranks for a size has no row.
        references: ranks by size that stand beside every arm, a column each; NaN where ranks are missing.
        sizes: numbers of faces, 100 or more.
        speakers: who speaks in each query.
        resampling: how intervals are made.

    Returns:
        Columns arm, size, measure, chance, those of an estimate and one for each reference. Measures: the true face is
        first (`r1`), among the first 10 (`r10`) or the first percent (`r1_percent`), and its mean `rank`.
    """
    rows = []
    for size in sizes:
        firsts = {"r1": 1, "r10": 10, "r1_percent": size // 100}
        chance = {name: first / size for name, first in firsts.items()} | {"rank": (size + 1) / 2}
        found = {}
        for name, by_size in (arms | references).items():
            if ranks := by_size.get(max(size, min(by_size))):
                found[name] = {part: recall_at(ranks, first, size) for part, first in firsts.items()}
                found[name]["rank"] = 1 + (1 - ranks.wins) * (size - 1)
        for arm in (name for name in arms if name in found):
            for measure, values in found[arm].items():
                estimate = bootstrap.interval(values, speakers, resampling, share=measure != "rank")
                beside = {name: found[name][measure].mean() for name in references if name in found}
                row = {"arm": arm, "size": size, "measure": measure, "chance": chance[measure]}
                rows.append(row | estimate.row() | beside)
    return pd.DataFrame(rows)


def _slices(stop: int, step: int, start: int = 0) -> Iterator[slice]:
    return (slice(first, min(first + step, stop)) for first in range(start, stop, step))


def _blocks(
    gallery: Float[np.ndarray, "gallery dim"], metric: str, start: int, stop: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Place, rows and lengths (float64) of each block; UserError for a row too long, too short or not finite."""
    for part in _slices(stop, BLOCK, start):
        block = torch.from_numpy(np.array(gallery[part]))  # a copy: a memory map may be read-only
        norm = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
        usable = norm <= LARGEST
        if metric == "cosine":
            usable &= (norm == 0) | (norm >= 1 / LARGEST)
        if not usable.all():
            row = int(usable.logical_not().nonzero()[0])
            raise UserError(f"Row {part.start + row} of the gallery has length {norm[row]:g}: make that feature again.")
        yield part, block, norm


def _check(queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: str) -> None:
    _check_metric(metric)
    if not len(queries) or not len(gallery):
        raise UserError(f"There are {len(queries)} queries and {len(gallery)} gallery rows: pass one of each at least.")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(f"Queries have {queries.shape[1]} columns, the gallery {gallery.shape[1]}: use one model.")
    length = np.linalg.norm(queries.astype(float), axis=1)
    if not (length <= LARGEST).all():
        row = int(np.argmin(length <= LARGEST))
        raise UserError(f"Query {row} has length {length[row]:g}: make that feature again.")


def _check_metric(metric: str) -> None:
    if metric not in ("cosine", "l2"):
        raise UserError(f"The metric {metric!r} cannot be searched: use cosine or l2.")


def ratio_space(
    ratio: LikelihoodRatio,
    queries: Float[np.ndarray, "queries pred_dim"],
    gallery: Float[np.ndarray, "gallery true_dim"],
) -> tuple[Float32[np.ndarray, "queries canonical"], Float32[np.ndarray, "gallery canonical"]]:
    """Map queries and gallery to where the nearest by l2 are the best by the likelihood ratio.

    u / sqrt(1 - r^2) and r v / sqrt(1 - r^2): minus half the squared distance is the log-ratio, up to a constant of the
    query. So `ranks_by_size` serves it.
    """
    root = np.sqrt(1 - ratio.correlations**2)
    u = (queries - ratio.pred_mean) @ ratio.pred_map / root
    v = np.empty((len(gallery), len(root)), np.float32)
    for part in _slices(len(gallery), BLOCK):
        v[part] = (gallery[part] - ratio.true_mean) @ ratio.true_map * (ratio.correlations / root)
    return u.astype(np.float32), v


def index(gallery: Float[np.ndarray, "gallery dim"], metric: str, cells: int, seed: int) -> faiss.IndexIVFFlat:
    """A faiss index of inverted lists: a float32 copy of the gallery, in `cells` around the centres of k-means.

    One cell for some 250 rows (4,096 for a million) works well. On one machine, the same seed gives the same index.
    UserError for another metric than cosine or l2, or more cells than rows.
    """
    _check_metric(metric)
    if not 1 <= cells <= len(gallery):
        raise UserError(f"{cells} cells cannot be made of {len(gallery)} rows: ask for 1 to {len(gallery)}.")
    cosine, dim = metric == "cosine", gallery.shape[1]
    centres = faiss.IndexFlatIP(dim) if cosine else faiss.IndexFlatL2(dim)
    built = faiss.IndexIVFFlat(centres, dim, cells, centres.metric_type)
    built.cp.seed, built.cp.spherical, built.cp.min_points_per_centroid = seed, cosine, 1

    def rows(part: slice) -> Float32[np.ndarray, "rows dim"]:
        finite(gallery_feature=gallery[part])
        return np.ascontiguousarray(unit_rows(gallery[part]) if cosine else gallery[part], np.float32)

    built.train(rows(slice(None, None, max(1, len(gallery) // (PER_CELL * cells)))))
    for part in _slices(len(gallery), INDEX_BLOCK):
        built.add(rows(part))
    return built


def nearest(
    built: faiss.IndexIVFFlat, queries: Float[np.ndarray, "queries dim"], k: int, cells: int
) -> Int64[np.ndarray, "queries {k}"]:
    """The first k rows in the `cells` nearest to each query, best first; -1 where these hold fewer.

    Exact if `cells` is their number in the index.
    """
    finite(query_feature=queries)
    chosen = faiss.SearchParametersIVF(nprobe=cells)
    return built.search(np.ascontiguousarray(queries, np.float32), k, params=chosen)[1]
