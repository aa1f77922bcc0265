"""What a model makes of degraded copies of recordings."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int16

from s2f.models import speech2face
from s2f.models.speech2face import FRONT_ENDS, SIGNS, Embedded, Head
from s2f.signal import degradation, speech
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE
from s2f.study import blocks
from s2f.study.paths import UserError

CLEAN = "clean"
LENGTH = "length"  # the first seconds of the recording: no degradation, but less speech
BLOCK = 8  # recordings a job


def embed(
    models: Path,
    kind: str,
    crop_seconds: float,
    waves: Sequence[Int16[np.ndarray, "_"]],
    conditions: pd.DataFrame,
    seed: int,
    workers: int,
) -> tuple[pd.DataFrame, list[Embedded | None]]:
    """Degrade each recording in each condition, and see the copies as a front end sees any recording.

    Args:
        models: folder of the front end.
        kind: of the model, see `speech2face.FILES`.
        crop_seconds: length of a training recording.
        waves: speech at 16 kHz.
        conditions: see `conditions`.
        seed: of noise and rooms; those of a recording do not depend on the others.
        workers: number of processes; it does not affect the result.

    Returns:
        A row a copy, recording by recording: `clip` (place among `waves`), the columns of `conditions` and `refused`
        (no speech was found); and what the front end sees of it, None where it was refused.
    """
    rows = [range(start, min(start + BLOCK, len(waves))) for start in range(0, len(waves), BLOCK)]
    jobs = [
        partial(_embed, models, kind, crop_seconds, list(waves[part.start : part.stop]), part.start, conditions, seed)
        for part in rows
    ]
    tables, seen = zip(*blocks.compute(jobs, workers), strict=True)
    return pd.concat(tables, ignore_index=True), [one for part in seen for one in part]


def predictions(
    seen: Sequence[Embedded | None], heads: Sequence[Head | None]
) -> tuple[Float[np.ndarray, "rows signs"], Float32[np.ndarray, "rows feature_dim"]]:
    """Signs (`speech2face.Prediction`) and predicted features of copies, by a head for each; NaN where refused."""
    made = [None if one is None else one.predicted(head) for one, head in zip(seen, heads, strict=True)]
    dim = len(next(one for one in made if one is not None).feature)
    signs = [np.full(len(SIGNS), np.nan) if one is None else one.signs for one in made]
    features = [np.full(dim, np.nan, np.float32) if one is None else one.feature for one in made]
    return np.stack(signs), np.stack(features).astype(np.float32)


def conditions(severities: dict[str, list[float]]) -> pd.DataFrame:
    """The table of conditions, from the severities of each kind; the first is the recording as it is.

    Columns: `condition`, its name; `kind`; `place` of the severity among those of its kind, from 1; `severity`.
    """
    rows = [(CLEAN, CLEAN, 1, 0.0)]
    for kind, steps in severities.items():
        unit = "s" if kind == LENGTH else degradation.KINDS[kind].unit
        rows += [(f"{kind} {severity:g} {unit}", kind, place, severity) for place, severity in enumerate(steps, 1)]
    return pd.DataFrame(rows, columns=["condition", "kind", "place", "severity"])


def _embed(models, kind, crop_seconds, waves, first, conditions, seed):
    front_end = FRONT_ENDS[kind](models)
    rows, seen = [], []
    for number, wave in enumerate(waves, first):
        for row, condition in enumerate(conditions.itertuples(index=False)):
            copy, draw = wave.astype(np.float32) / FULL_SCALE, np.random.default_rng([seed, number, row])
            if condition.kind == LENGTH:
                copy = copy[: round(condition.severity * SAMPLE_RATE)]
            elif condition.kind != CLEAN:
                copy = degradation.degrade(copy, condition.kind, condition.severity, draw)
            try:
                seen.append(speech2face.embed(front_end, crop_seconds, speech.isolate(copy)))
            except UserError:
                seen.append(None)
            rows.append((number, *condition, seen[-1] is None))
    return pd.DataFrame(rows, columns=["clip", *conditions.columns, "refused"]), seen
