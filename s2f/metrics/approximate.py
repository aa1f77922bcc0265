"""Approximate search in a large gallery through a faiss index; its recall is stated against `search.top`.

An evaluation needs none of it: exact search of a million faces takes seconds. It is for a gallery that is asked often.
"""

import faiss
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from s2f.metrics.similarity import unit_rows
from s2f.study.paths import UserError

BLOCK = 16_384  # rows added at once
PER_CELL = 64  # rows that find the centre of a cell


def index(gallery: Float[np.ndarray, "gallery dim"], metric: str, cells: int, seed: int) -> faiss.IndexIVFFlat:
    """A copy of the gallery in float32, in `cells` around the centres that k-means finds.

    A cell for some 250 rows, 4,096 for a million, is a good number. On one machine it repeats.
    """
    if metric not in ("cosine", "l2"):
        raise UserError(f"The metric {metric!r} has no index: use cosine or l2.")
    if not 1 <= cells <= len(gallery):
        raise UserError(f"{cells} cells cannot be made of {len(gallery)} rows: ask for 1 to {len(gallery)}.")
    spherical, dim = metric == "cosine", gallery.shape[1]
    centres = faiss.IndexFlatIP(dim) if spherical else faiss.IndexFlatL2(dim)
    built = faiss.IndexIVFFlat(centres, dim, cells, centres.metric_type)
    built.cp.seed, built.cp.spherical, built.cp.min_points_per_centroid = seed, spherical, 1

    def rows(part: slice) -> Float32[np.ndarray, "rows dim"]:
        return np.ascontiguousarray(unit_rows(gallery[part]) if spherical else gallery[part], np.float32)

    built.train(rows(slice(None, None, max(1, len(gallery) // (PER_CELL * cells)))))
    for start in range(0, len(gallery), BLOCK):
        built.add(rows(slice(start, start + BLOCK)))
    return built


def top(
    built: faiss.IndexIVFFlat, queries: Float[np.ndarray, "queries dim"], k: int, probes: int
) -> Int64[np.ndarray, "queries {k}"]:
    """The first k rows among those in the `probes` cells nearest to each query; -1 where these hold fewer."""
    chosen = faiss.SearchParametersIVF(nprobe=probes)
    return built.search(np.ascontiguousarray(queries, np.float32), k, params=chosen)[1]


def recall(found: Int[np.ndarray, "queries k"], exact: Int[np.ndarray, "queries k"]) -> Float64[np.ndarray, "queries"]:
    """For each query, the share of its exact first k rows that were found."""
    return (found[:, :, None] == exact[:, None]).any(1).mean(1)
