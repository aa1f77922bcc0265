"""A score beside chance and beside its ceiling, the best that any system could reach."""

import numpy as np

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling

Value = float | np.ndarray


def beside_ceiling(
    values: Column, best: Column | None, chance: float, speakers: Column, resampling: Resampling
) -> dict[str, float]:
    """A row of results: the mean of a per-clip share (a hit, a match), chance, and the columns of `shares`.

    `best` are the shares of the ideal observer on the same clips; without them the ceiling is left out.
    """
    ours = bootstrap.interval(values, speakers, resampling, share=True)
    row = {"chance": chance} | ours.row()
    if best is None:
        return row
    return row | shares(ours, chance, bootstrap.interval(best, speakers, resampling, share=True), resampling)


def shares(value: Estimate, chance: float, ceiling: Estimate, resampling: Resampling) -> dict[str, float]:
    """Columns that set a value beside its ceiling, estimated on the same clips and resampled together with it.

    `share_of_ceiling`, with its interval `share_low` to `share_high`: 0 at chance, 1 at the `ceiling`, and NaN
    where the best possible is no better than chance.
    """

    def share_of(value: Value, ceiling: Value) -> Value:
        return (value - chance) / np.where(ceiling == chance, np.nan, ceiling - chance)

    share = bootstrap.combine(share_of, value, ceiling, resampling=resampling)
    return {"ceiling": ceiling.value, "share_of_ceiling": share.value, "share_low": share.low, "share_high": share.high}
