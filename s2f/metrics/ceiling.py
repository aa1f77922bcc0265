"""A value beside chance and beside the best value that any system could reach."""

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling


def share_of_ceiling(value: Estimate, chance: float, ceiling: Estimate | float, resampling: Resampling) -> Estimate:
    """(value - chance) / (ceiling - chance): 0 at chance, 1 at the best any system could reach.

    A ceiling that was itself estimated on the same clips is resampled together with the value.
    """
    if isinstance(ceiling, Estimate):
        return bootstrap.combine(lambda v, c: (v - chance) / (c - chance), value, ceiling, resampling=resampling)
    return bootstrap.combine(lambda v: (v - chance) / (ceiling - chance), value, resampling=resampling)


def beside_ceiling(
    values: Column, best: Column, chance: float, speakers: Column, resampling: Resampling
) -> dict[str, float]:
    """A share a clip (a hit, a match) as a row of results: estimate, chance, and how much of the ceiling is reached.

    `best` are the shares of the best possible observer of the same clips.
    """
    ours, ceiling = (bootstrap.interval(side, speakers, resampling, share=True) for side in (values, best))
    return {"chance": chance} | ours.row() | shares(ours, chance, ceiling, resampling)


def shares(value: Estimate, chance: float, ceiling: Estimate, resampling: Resampling) -> dict[str, float]:
    """The columns that set a value beside its ceiling: `ceiling`, `share_of_ceiling`, `share_low`, `share_high`."""
    share = share_of_ceiling(value, chance, ceiling, resampling)
    return {
        "ceiling": ceiling.value,
        "share_of_ceiling": share.value,
        "share_low": share.low,
        "share_high": share.high,
    }
