"""Exact search in galleries of up to millions of faces: the nearest, and the rank of the true one.

`top` scans the gallery once in low precision, but every number of the scan is an upper bound of the true score, made so
by the matrix product itself (`_Space.bounds`). The rows with the largest bounds are scored again in float64. When the
k-th of those scores exceeds every bound that was left out, no other row can be among the first k: the answer is exact.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from torch import Tensor
from torch.nn.functional import pad

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.metrics.retrieval import TIE, Ranks, recall_at
from s2f.metrics.similarity import unit_rows
from s2f.study.paths import UserError
from s2f.study.precision import fast_dtype

BLOCK = 2048  # rows of the gallery in work at once: with QUERIES, what bounds the memory
QUERIES = 1024
GROUP = 32  # rows whose largest bound stands for them: finding the best groups first spares sorting all rows
LISTS = (32, 1024)  # candidates of a query beyond 2 k: the second list for what the first does not prove
RESCORED = 2**21  # numbers held at once where rows are scored in float64
LARGEST = 1e15  # squares of longer rows leave the range of float32
# The scan adds up in float32: n terms are off by at most n EPS times the sum of their sizes. This is twice what
# rounding to nearest needs, for hardware that cuts off.
EPS = 2.0**-23
# Scores of candidates and their comparison with the bounds are float64: wrong by less than this part of the largest.
EXACT = 1e-12
TINY = 1e-30  # more than what the smallest float32 numbers lose
SAMPLE = 4096  # rows that the middle of the gallery is estimated from


class Found(NamedTuple):
    """The first k rows of the gallery for each query, best first, equal scores by row number."""

    rows: Int64[np.ndarray, "queries k"]
    scores: Float64[np.ndarray, "queries k"]  # as `retrieval.similarity`: cosine, or minus the squared distance
    listed: Int[np.ndarray, "queries"]  # how many candidates were scored again; all rows if no shorter list was proof


class _Space(NamedTuple):
    """Where the score of a query and a row is x . y + h, up to a scale and a constant that only the query knows.

    cosine: x = q/|q|, y = g/|g| - c, h = 0. l2: x = q - c, y = g - c, h = -|y|^2 / 2. Any centre c is right; one in the
    middle of the gallery makes y short, and the errors of low precision grow with its length.
    """

    metric: str
    centre: Float64[np.ndarray, "dim"]  # numbers of float32

    @classmethod
    def of(cls, gallery: Float[np.ndarray, "gallery dim"], metric: str) -> "_Space":
        sample = gallery[:: -(-len(gallery) // SAMPLE)].astype(float)
        placed = unit_rows(sample) if metric == "cosine" else sample
        return cls(metric, placed.mean(axis=0).astype(np.float32).astype(float))

    def queries(self, queries: Float64[np.ndarray, "queries dim"]) -> Float64[np.ndarray, "queries dim"]:
        return unit_rows(queries) if self.metric == "cosine" else queries - self.centre

    def rows(
        self, block: Float[Tensor, "rows dim"], norm: Float[Tensor, "rows"]
    ) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, "rows"]]:
        """y and h in the precision of the block."""
        centre = torch.from_numpy(self.centre).to(block.dtype)
        if self.metric == "cosine":
            scale = torch.where(norm > 0, norm, 1).to(block.dtype)
            return block / scale[:, None] - centre, torch.zeros_like(scale)
        moved = block - centre
        return moved, moved.square().sum(1) / -2

    def value(
        self, scores: Float64[np.ndarray, "queries"], x: Float64[np.ndarray, "queries dim"]
    ) -> Float64[np.ndarray, "queries"]:
        """x . y + h of scores as `Found` has them."""
        return scores - x @ self.centre if self.metric == "cosine" else (scores + np.square(x).sum(1)) / 2

    def bounds(
        self, block: Float[Tensor, "rows dim"], norm: Float[Tensor, "rows"], dtype: torch.dtype
    ) -> Float[Tensor, "rows wide"]:
        """The rows' side of a product with `ask` that is never less than x . y + h, but for the rounding of its result.

        With y~ and x~ as rounded to `dtype`, x . y <= x~ . y~ + |x - x~| |y~| + |x| |y - y~|. So two columns more on
        each side add the errors of rounding, of computing y in float32 and of adding up; three carry h.
        """
        y, h = self.rows(block.float(), norm)
        rounded = y.to(dtype)
        error = torch.linalg.vector_norm(y - rounded.float(), dim=1)
        length = torch.linalg.vector_norm(y, dim=1) + error
        unsure = EPS * (block.shape[1] + 8)
        made = unsure if self.metric == "cosine" else unsure * length + EPS * norm.float()
        error = error + made + 2 * unsure * length
        rest = h + 2 * unsure * h.abs() + made * length + TINY
        parts = []
        for _ in range(3):
            parts.append(rest.to(dtype))
            rest = rest - parts[-1].float()
        return torch.column_stack([rounded, *parts, _up(error, dtype), _up(length, dtype)])

    def ask(self, x: Float64[np.ndarray, "queries dim"], dtype: torch.dtype) -> Float[Tensor, "queries wide"]:
        """The queries' side of that product."""
        exact = torch.from_numpy(x)
        rounded = exact.to(dtype)
        length, error = (torch.linalg.vector_norm(part, dim=1) for part in (exact, exact - rounded))
        ones = torch.ones(len(x), 3, dtype=dtype)
        return torch.column_stack([rounded, ones, _up(length, dtype), _up(error, dtype)])


def _up(numbers: Float[Tensor, "n"], dtype: torch.dtype) -> Float[Tensor, "n"]:
    """Rounded upwards: bfloat16 to nearest is off by 2^-9, and float32 sums by less than what is left of 2^-7."""
    return (numbers * (1 + 2**-7) + TINY).to(dtype)


def top(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    k: int,
    metric: str = "cosine",
) -> Found:
    """The first k rows for each query, exactly; the gallery may be a memory map of any floating type.

    Scores are float64 and a row gets the same wherever it stands, so equal rows tie, and ties go by row number. Memory
    beyond the gallery is bounded by BLOCK and QUERIES: about 0.2 GB for features of 512 numbers. A query with more
    near-ties than the longest list holds is compared with every row in float64: as exact, but it takes about a second
    for a million rows.
    """
    _check(queries, gallery, metric)
    if not 1 <= k <= len(gallery):
        raise UserError(f"k is {k} and the gallery has {len(gallery)} rows: ask for 1 to {len(gallery)} of them.")
    lengths = [min(2 * k + more, len(gallery)) for more in LISTS]
    return _proven(queries.astype(float), gallery, k, _Space.of(gallery, metric), lengths)


def _proven(
    queries: Float64[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    k: int,
    space: _Space,
    lengths: Sequence[int],
) -> Found:
    """The answer from a list of the first of these lengths; from the next where that is no proof, or from all rows."""
    if not lengths:
        return _row_by_row(queries, gallery, k, space.metric)
    length, *longer = lengths
    x = space.queries(queries)
    listed, left_out = _scan(x, gallery, length, space)
    found = Found(*_ordered(queries, gallery, listed, k, space.metric), np.full(len(queries), length))
    last = found.scores[:, -1]
    sure = space.value(last, x) - EXACT * (np.square(x).sum(1) + np.abs(last))
    unproven = sure <= left_out
    if unproven.any():
        again = _proven(queries[unproven], gallery, k, space, longer)
        for whole, part in zip(found, again, strict=True):
            whole[unproven] = part
    return found


def _scan(
    x: Float64[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], length: int, space: _Space
) -> tuple[Int64[np.ndarray, "queries {length}"], Float64[np.ndarray, "queries"]]:
    """For each query the `length` rows with the largest bounds of x . y + h, and what all other rows keep to."""
    dtype = fast_dtype(torch.device("cpu"))
    asked = space.ask(x, dtype)
    best = torch.full((len(x), length), -torch.inf, dtype=dtype)
    rows = torch.zeros(len(x), length, dtype=torch.int64)
    for start, block, norm in _blocks(gallery, space.metric):
        side = space.bounds(block, norm, dtype).T
        for part in _slices(len(x), QUERIES):
            bounds = pad(asked[part] @ side, (0, -side.shape[1] % GROUP), value=-torch.inf)
            groups = bounds.view(len(bounds), GROUP, -1)  # group j: rows j, j + width, j + 2 width ...
            width, largest = groups.shape[2], groups.amax(1)
            # Rows that join the list lie in groups that reach into it, and no more than `length` of them are needed.
            joins = (largest > best[part, -1:]).sum(1)
            some = joins.nonzero()[:, 0]
            held = largest[some].topk(min(length, int(joins.max()))).indices[:, None].expand(-1, GROUP, -1)
            members = start + held + width * torch.arange(GROUP)[:, None]
            at = part.start + some
            best[at], order = torch.cat([best[at], groups[some].gather(2, held).flatten(1)], 1).topk(length)
            rows[at] = torch.cat([rows[at], members.flatten(1)], 1).gather(1, order)
    least = best[:, -1].double() if length < len(gallery) else torch.full((len(x),), -torch.inf).double()
    # A product that was left out was at most `least` when it was rounded to `dtype`.
    return rows.numpy(), (least + torch.finfo(dtype).eps * least.abs()).numpy()


def _ordered(
    queries: Float64[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    listed: Int64[np.ndarray, "queries listed"],
    k: int,
    metric: str,
) -> tuple[Int64[np.ndarray, "queries {k}"], Float64[np.ndarray, "queries {k}"]]:
    """The best k of the listed rows, by their scores in float64."""
    rows, scores = [], []
    for part in _slices(len(queries), max(1, RESCORED // (listed.shape[1] * gallery.shape[1]))):
        scored = _scores(queries[part], gallery[listed[part]], metric)
        order = np.lexsort((listed[part], -scored))[:, :k]
        rows.append(np.take_along_axis(listed[part], order, 1))
        scores.append(np.take_along_axis(scored, order, 1))
    return np.concatenate(rows), np.concatenate(scores)


def _row_by_row(
    queries: Float64[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], k: int, metric: str
) -> Found:
    """Every row scored in float64; equal queries, such as those of an embedding that knows nothing, only once."""
    distinct, which = np.unique(queries, axis=0, return_inverse=True)
    rows, scores = np.empty((len(distinct), 0), np.int64), np.empty((len(distinct), 0))
    for part in _slices(len(gallery), max(1, RESCORED // gallery.shape[1])):
        block = gallery[part].astype(float)[None]
        scored = np.concatenate([_scores(query[None], block, metric) for query in distinct])
        scores = np.hstack([scores, scored])
        rows = np.hstack([rows, np.broadcast_to(np.arange(len(gallery))[part], scored.shape)])
        order = np.lexsort((rows, -scores))[:, :k]
        rows, scores = (np.take_along_axis(side, order, 1) for side in (rows, scores))
    return Found(rows[which], scores[which], np.full(len(queries), len(gallery)))


def _scores(
    queries: Float64[np.ndarray, "queries dim"], rows: Float[np.ndarray, "queries rows dim"], metric: str
) -> Float64[np.ndarray, "queries rows"]:
    """Scores in float64, summed row by row: a matrix product may add up equal rows in different orders."""
    rows = rows.astype(float, copy=False)
    if metric == "l2":
        return -np.square(rows - queries[:, None]).sum(-1)
    length = np.sqrt(np.square(rows).sum(-1))
    return (rows * unit_rows(queries)[:, None]).sum(-1) / np.where(length > 0, length, 1)


def rank_of(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    true_index: Int[np.ndarray, "queries"],
    metric: str = "cosine",
) -> Ranks:
    """Place of each query's true row, as `retrieval.ranks`, with memory bounded for any size of the gallery."""
    return ranks_by_size(queries, gallery, true_index, [len(gallery)], metric)[len(gallery)]


def ranks_by_size(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    true_index: Int[np.ndarray, "queries"],
    sizes: Sequence[int],
    metric: str = "cosine",
) -> dict[int, Ranks]:
    """Place of each query's true row among the first rows of the gallery, for each of several sizes, in one scan.

    In float64: the ranks of true faces lie where the gallery is dense, and there low precision would settle little.
    Rows tie within TIE of the largest score that could tie.
    """
    _check(queries, gallery, metric)
    last = int(np.max(true_index))
    if not last < min(sizes) <= max(sizes) <= len(gallery):
        raise UserError(f"The sizes {sorted(sizes)} must hold row {last}, a true one, and be at most {len(gallery)}.")
    queries, space = queries.astype(float), _Space.of(gallery, metric)
    x = space.queries(queries)
    target = _scores(queries, gallery[true_index][:, None], metric)[:, 0]
    largest = np.square(np.linalg.norm(x, axis=1) + np.sqrt(-target)) if metric == "l2" else np.ones(len(x))
    low, high = (torch.from_numpy(space.value(target + sign * TIE * largest, x))[:, None] for sign in (-1, 1))
    above, reached = torch.zeros(2, len(x), dtype=torch.int64)
    placed, done = {}, 0
    for size in sorted(sizes):
        for _, block, norm in _blocks(gallery, metric, done, size):
            y, h = space.rows(block.double(), norm)
            for part in _slices(len(x), QUERIES):
                values = torch.addmm(h, torch.from_numpy(x[part]), y.T)
                above[part] += (values > high[part]).count_nonzero(dim=1)
                reached[part] += (values >= low[part]).count_nonzero(dim=1)
        # The true row reaches itself.
        placed[size], done = Ranks(above.numpy().copy(), (reached - above).numpy() - 1, size - 1), size
    return placed


def recall_by_size(
    arms: Mapping[str, Mapping[int, Ranks]],
    references: Mapping[str, Mapping[int, Ranks]],
    sizes: Sequence[int],
    speakers: Column,
    resampling: Resampling,
) -> pd.DataFrame:
    """Retrieval in galleries of several sizes (100 or more), a row an arm, size and measure.

    Arms and references hold ranks by size, as `ranks_by_size` gives them; a smaller size than theirs is an exact
    expectation over which of the others are left. Where ranks are missing an arm has no row, a reference NaN. Measures:
    the true face is first (`r1`), among the first 10 (`r10`) or the first percent (`r1_percent`), and its mean `rank`.
    """
    rows = []
    for size in sizes:
        firsts = {"r1": 1, "r10": 10, "r1_percent": size // 100}
        chance = {name: first / size for name, first in firsts.items()} | {"rank": (size + 1) / 2}
        found = {}
        for name, by_size in (arms | references).items():
            if placed := by_size.get(max(size, min(by_size))):
                found[name] = {part: recall_at(placed, first, size) for part, first in firsts.items()}
                found[name]["rank"] = 1 + (1 - placed.wins) * (size - 1)
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
    gallery: Float[np.ndarray, "gallery dim"], metric: str, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """First row, rows and their lengths (float64) of each block; UserError where a scan in float32 would be wrong."""
    for part in _slices(len(gallery) if stop is None else stop, BLOCK, start):
        block = torch.from_numpy(np.array(gallery[part]))  # a copy: a memory map may be read-only
        norm = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
        usable = norm <= LARGEST
        if metric == "cosine":
            usable &= (norm == 0) | (norm >= 1 / LARGEST)
        if not usable.all():
            row = part.start + int(usable.logical_not().nonzero()[0])
            raise UserError(f"Row {row} of the gallery has length {norm[row - part.start]:g}: make that feature again.")
        yield part.start, block, norm


def _check(queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: str) -> None:
    if metric not in ("cosine", "l2"):
        raise UserError(f"The metric {metric!r} is not searched by: use cosine or l2.")
    if not len(queries) or not len(gallery):
        raise UserError(f"There are {len(queries)} queries and {len(gallery)} gallery rows: pass one of each at least.")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(f"Queries have {queries.shape[1]} columns, the gallery {gallery.shape[1]}: use one model.")
    length = np.linalg.norm(queries.astype(float), axis=1)
    if not (length <= LARGEST).all():
        row = int(np.argmin(length <= LARGEST))
        raise UserError(f"Query {row} has length {length[row]:g}: make that feature again.")


def ratio_space(
    ratio: LikelihoodRatio,
    queries: Float[np.ndarray, "queries pred_dim"],
    gallery: Float[np.ndarray, "gallery true_dim"],
) -> tuple[Float32[np.ndarray, "queries canonical"], Float32[np.ndarray, "gallery canonical"]]:
    """Where the nearest by l2 are the best by the likelihood ratio: u / sqrt(1 - r^2) and r v / sqrt(1 - r^2).

    Minus half the squared distance there is the log-ratio, up to a constant a query. So `top` and `rank_of` serve it.
    """
    root = np.sqrt(1 - ratio.correlations**2)
    u = (queries - ratio.pred_mean) @ ratio.pred_map / root
    v = np.empty((len(gallery), len(root)), np.float32)
    for part in _slices(len(gallery), BLOCK):
        v[part] = (gallery[part] - ratio.true_mean) @ ratio.true_map * (ratio.correlations / root)
    return u.astype(np.float32), v
