"""What degraded copies of recordings change: by how much, in which direction, for whom.

Tables have a row a copy: `clip`, `condition`, `speaker_id` and what was measured; the first copy of each clip is clean.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32
from scipy.stats import rankdata

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.similarity import angles
from s2f.study.paths import UserError

LEAST = 5  # speakers of a group
OFTEN = 0.1  # share of the copies that are refused


def one_clip_a_speaker(clips: pd.DataFrame, speakers: Mapping[str, int]) -> pd.DataFrame:
    """The first clip of each of some speakers of a split, at regular steps.

    Args:
        clips: rows of the table of clips.
        speakers: how many of each split; all, where there are fewer.

    Raises:
        UserError: if a split has no clip.
    """
    first = clips[~clips.duplicated("speaker_id")]
    parts = []
    for split, count in speakers.items():
        members = first[first["split"] == split]
        if members.empty:
            raise UserError(f"The split {split} has no clip: prepare the data again.")
        rows = np.linspace(0, len(members) - 1, min(count, len(members)))
        parts.append(members.iloc[np.unique(np.round(rows).astype(int))])
    return pd.concat(parts)


def comparable(copies: pd.DataFrame, clean: str) -> pd.Index:
    """The rows of copies that can be compared: all conditions of the same clips.

    A condition in which more than a tenth of the copies were `refused` is left out, and then each clip of which another
    copy was.
    """
    refused = copies.loc[(copies["condition"] == clean) & copies["refused"], "clip"]
    copies = copies[~copies["clip"].isin(refused)]
    often = copies.groupby("condition")["refused"].mean()
    kept = copies[copies["condition"].isin(often.index[often <= OFTEN])]
    return kept.index[~kept.groupby("clip")["refused"].transform("any").astype(bool)]


def angles_to_first(features: Float32[np.ndarray, "copies dim"], clips: Column) -> Float[np.ndarray, "copies"]:
    """Angle (degrees) of each copy to the first copy of its clip; NaN where one of them has no feature."""
    _, first, place = np.unique(np.asarray(clips), return_index=True, return_inverse=True)
    reference = features[first][place]
    known = np.isfinite(features).all(axis=1) & np.isfinite(reference).all(axis=1)
    found = np.full(len(features), np.nan)
    found[known] = angles(features[known].astype(float), reference[known].astype(float))
    return found


def by_condition(copies: pd.DataFrame, name: str, resampling: Resampling, clean: str) -> pd.DataFrame:
    """Mean of a column in each condition (row), and its paired difference from the clean copies."""
    columns = {condition: part[name].to_numpy() for condition, part in copies.groupby("condition", sort=False)}
    speakers = copies.loc[copies["condition"] == clean, "speaker_id"].to_numpy()
    return bootstrap.against(columns, clean, speakers, resampling)


def shifts(
    copies: pd.DataFrame, traits: Sequence[str], groups: pd.DataFrame, resampling: Resampling, clean: str
) -> pd.DataFrame:
    """Mean change of each trait by condition, for all speakers and for each group.

    Args:
        copies: the copies of the test speakers.
        traits: columns of it.
        groups: labels of the speaker of each copy, a column an attribute.
        resampling: seed, replicates and coverage; the intervals of a trait cover all conditions and groups together
            (Bonferroni).
        clean: the condition that others are compared with.

    Returns:
        Rows by `trait`, `of` ("all", or a label) and `condition`: the mean change, its interval, and `own_interval`,
        half of the width of the 95 % interval of the clean mean.
    """
    parts = {"all": np.ones(len(copies), bool)}
    for attribute in groups:
        for label in sorted(groups[attribute].dropna().unique()):
            members = (groups[attribute] == label).to_numpy()
            if copies.loc[members, "speaker_id"].nunique() >= LEAST:
                parts[str(label)] = members
    conditions = [name for name in copies["condition"].unique() if name != clean]
    strict = resampling.simultaneous(len(conditions) * len(parts))
    rows = []
    for trait in traits:
        for label, members in parts.items():
            part = copies[members]
            before = part[part["condition"] == clean].set_index("clip")
            own = bootstrap.interval(before[trait], before["speaker_id"], resampling)
            for condition in conditions:
                after = part[part["condition"] == condition].set_index("clip").loc[before.index]
                change = bootstrap.interval(after[trait] - before[trait], before["speaker_id"], strict)
                row = {"trait": trait, "of": label, "condition": condition, "own_interval": (own.high - own.low) / 2}
                rows.append(row | change.row())
    return pd.DataFrame(rows)


def beyond(shifted: pd.DataFrame) -> list[str]:
    """A sentence for each trait that a condition moves: by more than the interval of the mean, and not by chance."""
    moved = shifted[(shifted["value"].abs() > shifted["own_interval"]) & ((shifted["low"] > 0) | (shifted["high"] < 0))]
    sentences = []
    for row in moved.itertuples():
        condition, (trait, *unit) = row.condition[0].upper() + row.condition[1:], row.trait.split(" / ")
        change = f"{row.value:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
        sentences.append(f"{condition} moves {trait} of {_named(row.of)} by {' '.join([change, *unit])}.")
    return sentences


def _named(label: str) -> str:
    return {"all": "all speakers", "F": "women", "M": "men"}.get(label, f"speakers of {label}")


def rank_correlation(copies: pd.DataFrame, x: str, y: str, resampling: Resampling) -> Estimate:
    """Spearman's rank correlation of two columns over the copies where both are known; speakers are resampled."""
    known = copies[copies[[x, y]].notna().all(axis=1)]
    ranks = (rankdata(known[name]) for name in (x, y))
    return bootstrap.correlation(*ranks, known["speaker_id"], resampling)
