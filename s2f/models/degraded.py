"""What the voice model makes of degraded copies of recordings."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int16

from s2f.models import inference
from s2f.signal import degradation, speech
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE
from s2f.study import blocks
from s2f.study.paths import UserError

CLEAN = "clean"
LENGTH = "length"  # the first seconds of the recording: no degradation, but less speech
BLOCK = 8  # recordings a job


def predict(
    models: Path, waves: Int16[np.ndarray, "clips samples"], conditions: pd.DataFrame, seed: int, workers: int
) -> tuple[pd.DataFrame, Float32[np.ndarray, "rows feature_dim"]]:
    """Degrade each recording in each condition, and predict from the copies as from any recording.

    Args:
        models: folder of the models.
        waves: recordings at 16 kHz.
        conditions: see `conditions`.
        seed: of noise and rooms; those of a recording do not depend on the others.
        workers: number of processes; it does not affect the result.

    Returns:
        A row a copy, recording by recording: `clip` (row of `waves`), the columns of `conditions`, `refused` (no
        speech was found) and the signs of `inference.Prediction`; and the predictions, NaN where the copy was refused.
    """
    rows = [range(start, min(start + BLOCK, len(waves))) for start in range(0, len(waves), BLOCK)]
    jobs = [partial(_predict, models, waves[part.start : part.stop], part.start, conditions, seed) for part in rows]
    tables, features = zip(*blocks.compute(jobs, workers), strict=True)
    return pd.concat(tables, ignore_index=True), np.concatenate(features)


def conditions(severities: dict[str, list[float]]) -> pd.DataFrame:
    """The table of conditions, from the severities of each kind; the first is the recording as it is.

    Columns: `condition`, its name; `kind`; `place` of the severity among those of its kind, from 1; `severity`.
    """
    rows = [(CLEAN, CLEAN, 1, 0.0)]
    for kind, steps in severities.items():
        unit = "s" if kind == LENGTH else degradation.KINDS[kind].unit
        rows += [(f"{kind} {severity:g} {unit}", kind, place, severity) for place, severity in enumerate(steps, 1)]
    return pd.DataFrame(rows, columns=["condition", "kind", "place", "severity"])


def _predict(models, waves, first, conditions, seed):
    encoder, crop = inference.cpu_voice_encoder(models), inference.read_facts(models)["seconds"]
    dim = encoder.config.feature_dim
    rows, features = [], []
    for number, wave in enumerate(waves.astype(np.float32) / FULL_SCALE, first):
        for row, condition in enumerate(conditions.itertuples(index=False)):
            draw = np.random.default_rng([seed, number, row])
            if condition.kind == CLEAN:
                copy = wave
            elif condition.kind == LENGTH:
                copy = wave[: round(condition.severity * SAMPLE_RATE)]
            else:
                copy = degradation.degrade(wave, condition.kind, condition.severity, draw)
            try:
                prediction = inference.predict(encoder, crop, speech.isolate(copy))
                signs, feature = prediction.signs, prediction.feature
            except UserError:
                signs, feature = np.full(len(inference.SIGNS), np.nan), np.full(dim, np.nan, np.float32)
            rows.append((number, *condition, bool(np.isnan(feature).any()), *signs))
            features.append(feature)
    return pd.DataFrame(rows, columns=["clip", *conditions.columns, "refused", *inference.SIGNS]), np.stack(features)
