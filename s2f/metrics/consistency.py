"""Consistency of the predictions for one speaker: over segments, recordings, languages and several clips."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.retrieval import ranks, recall_at
from s2f.metrics.similarity import Features, Metric, degrees, unit_rows
from s2f.signal.audio import SAMPLE_RATE
from s2f.study.numbers import finite
from s2f.study.paths import UserError

# Rows of the matrix of angles between clips that are held at once.
ANGLE_CHUNK = 512

Segments = Float[np.ndarray, "speakers recordings segments dim"]
Clips = Float[np.ndarray, "speakers groups clips dim"]


# The same speaker in another recording


def several_recordings(clips: pd.DataFrame, seconds: float = 0.0) -> pd.DataFrame:
    """The clips of speakers with two or more of at least so many seconds, of each as many as everybody has."""
    long = clips[clips["audio_samples"] >= round(seconds * SAMPLE_RATE)]
    recordings = long.groupby("speaker_id")["audio_samples"].transform("size")
    kept = long[recordings > 1]
    return kept[kept.groupby("speaker_id").cumcount() < recordings[recordings > 1].min()]


def segments(clips: pd.DataFrame, seconds: float) -> pd.DataFrame:
    """Rows of a table of clips for the parts of so many seconds of each clip, as many as the shortest clip has.

    `segment` names a part, such as "recording 2, part 1", by the order of the speaker's clips in the table. UserError
    when a clip is shorter than a part.
    """
    length = round(seconds * SAMPLE_RATE)
    parts = int(clips["audio_samples"].min()) // length
    if parts == 0:
        raise UserError(f"A clip is shorter than {seconds:g} s: ask for shorter segments.")
    recording = (1 + clips.groupby("speaker_id").cumcount()).repeat(parts).to_numpy()
    table, part = clips.loc[clips.index.repeat(parts)].reset_index(drop=True), np.tile(np.arange(parts), len(clips))
    names = [f"recording {i}, part {j + 1}" for i, j in zip(recording, part, strict=True)]
    return table.assign(audio_offset=table["audio_offset"] + length * part, audio_samples=length, segment=names)


def segment_angles(features: Segments) -> dict[str, Float[np.ndarray, "all_segments"]]:
    """Fig. 10 of the paper: mean angle (degrees) of each segment to other segments, by kind of pair.

    `same_recording`: to the other segments of its recording; `same_speaker`: to those of the speaker's other
    recordings; `other_speakers`: to those of everybody else. UserError unless there are two of each.
    """
    finite(feature=features)
    speakers, recordings, segments, dim = features.shape
    if min(speakers, recordings, segments) < 2:
        raise UserError(
            f"{speakers} speakers with {recordings} recordings of {segments} segments cannot be compared: "
            "give two of each."
        )
    unit, number = unit_rows(features.reshape(-1, dim)), np.arange(speakers * recordings * segments)
    recording, _ = _mean_angles(unit, bootstrap.number_speakers(number // segments))
    own, other = _mean_angles(unit, bootstrap.number_speakers(number // (segments * recordings)))
    elsewhere = own * (recordings * segments - 1) - recording * (segments - 1)
    return {
        "same_recording": recording,
        "same_speaker": elsewhere / ((recordings - 1) * segments),
        "other_speakers": other,
    }


def _mean_angles(
    unit: Features, index: bootstrap.Speakers
) -> tuple[Float[np.ndarray, "clips"], Float[np.ndarray, "clips"]]:
    """Mean angle of each clip to its speaker's other clips and to those of all others."""
    clips = np.bincount(index.codes)[index.codes]
    own, total = np.empty(len(unit)), np.empty(len(unit))
    for start in range(0, len(unit), ANGLE_CHUNK):
        rows = np.arange(start, min(start + ANGLE_CHUNK, len(unit)))
        between = degrees(unit[rows] @ unit.T)
        between[np.arange(len(rows)), rows] = 0  # to itself, without the rounding of arccos near 1
        own[rows] = (between * (index.codes[rows, None] == index.codes)).sum(axis=1)
        total[rows] = between.sum(axis=1)
    return own / (clips - 1), (total - own) / (len(unit) - clips)


def segment_consistency(features: Segments, resampling: Resampling) -> dict[str, dict[str, dict[str, float]]]:
    """Means of `segment_angles` (`degrees`), and `intraclass` correlations of segments.

    A nested analysis of variance, summed over dimensions, splits the variance of the embeddings into parts between
    speakers, between the recordings of a speaker, and between the segments of a recording. Segments of one recording
    share the first two parts (`segments`), segments of two recordings only the first (`recordings`). UserError as in
    `segment_angles`.
    """
    angles, speakers = segment_angles(features), np.arange(len(features)).repeat(features[0, ..., 0].size)
    measured = {name: bootstrap.interval(values, speakers, resampling) for name, values in angles.items()}
    shared = {name: _shared_variance(features.astype(float), name, resampling) for name in ("segments", "recordings")}
    return {
        kind: {name: estimate.row() for name, estimate in estimates.items()}
        for kind, estimates in {"degrees": measured, "intraclass": shared}.items()
    }


def _shared_variance(features: Segments, unit: str, resampling: Resampling) -> Estimate:
    speakers, recordings, segments, dim = features.shape
    features = features - features.mean(axis=(0, 1, 2))
    of_recording, of_speaker = features.mean(axis=2), features.mean(axis=(1, 2))
    # Variances within each speaker, and squared lengths of the speakers' means.
    within = np.square(features - of_recording[:, :, None]).sum(axis=(1, 2, 3)) / (recordings * (segments - 1))
    between = np.square(of_recording - of_speaker[:, None]).sum(axis=(1, 2)) / (recordings - 1)
    lengths = np.square(of_speaker).sum(axis=1)

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        n = weights.sum(axis=1)
        segment, means = weights @ within / n, weights @ between / n
        people = (weights @ lengths - np.square(weights @ of_speaker).sum(axis=1) / n) / (n - 1)
        # A mean of few parts varies because the parts do; what is left is the level's own.
        recording, speaker = means - segment / segments, people - means / recordings
        total = speaker + recording + segment
        shared = speaker + recording if unit == "segments" else speaker
        return np.where(total > 0, shared / np.where(total > 0, total, 1), 0.0)

    return bootstrap.bootstrap(statistic, features[..., 0].size, speakers, resampling, width=dim)


# The same speaker in another language


def positions(features: Features, groups: Column, means: pd.DataFrame) -> pd.DataFrame:
    """Position of each clip on the line from the mean face of its speaker's group (0) to that of each other group (1).

    `means`: the mean embedding of each group (row). A column per group, NaN for the speaker's own. UserError for one
    without a mean.
    """
    finite(predicted_feature=features, mean_feature=means)
    groups = np.asarray(groups)
    if missing := sorted(set(groups) - set(means.index)):
        raise UserError(f"There is no mean feature of group '{missing[0]}': estimate one from its faces.")
    origin = means.loc[groups].to_numpy(float)
    columns = {}
    for name, mean in means.iterrows():
        line = mean.to_numpy(float) - origin
        length = np.square(line).sum(axis=1)
        columns[name] = ((features - origin) * line).sum(axis=1) / np.where(length > 0, length, np.nan)
    return pd.DataFrame(columns)


def language_shifts(
    clips: pd.DataFrame, features: Features, means: pd.DataFrame, native: Mapping[str, str]
) -> pd.DataFrame:
    """Shift of each speaker's face with each language but the first, towards the group whose language it is.

    Args:
        clips: `speaker_id`, `group`, `language` and `home` (the group of the language) of each clip.
        features: predicted embedding of each clip.
        means: as for `positions`.
        native: the first language of each group, in which every speaker must be recorded (UserError).

    Returns:
        One row per speaker and language, with the difference of mean position as `shift`. For another language of the
        own group, to which no line leads, it is the mean over the lines to all other groups.
    """
    keys = ["speaker_id", "group", "language", "home"]
    places = positions(features, clips["group"], means)
    table = places.groupby([clips[key] for key in keys]).mean()
    speaker, group, language, home = (table.index.get_level_values(key) for key in keys)
    first = table[language == group.map(native)].droplevel(keys[1:])
    if missing := sorted(set(speaker) - set(first.index)):
        raise UserError(f"Speaker {missing[0]} is not heard in the first language of the group: record it.")
    moved = table - first.loc[speaker].to_numpy()
    toward = moved.to_numpy()[np.arange(len(moved)), moved.columns.get_indexer(home)]
    shifts = np.where(group == home, moved.mean(axis=1), toward)
    return moved.index.to_frame(index=False).assign(shift=shifts)[language != group.map(native)].reset_index(drop=True)


def by_language(shifts: pd.DataFrame, expected: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean of `language_shifts` with interval: over all other groups' languages, then for each language.

    `expected`: the shifts of another system for the same speakers and languages, whose mean is a column.
    """
    foreign, language = (shifts["group"] != shifts["home"]).to_numpy(), shifts["language"].to_numpy()
    subsets = {("other_group", "any"): foreign}
    for kind, rows in (("other_group", foreign), ("own_group", ~foreign)):
        subsets |= {(kind, name): rows & (language == name) for name in sorted(set(language[rows]))}
    table = []
    for (kind, name), rows in subsets.items():
        estimate = bootstrap.interval(shifts["shift"][rows], shifts["speaker_id"][rows], resampling)
        row = {"kind": kind, "language": name, "expected": expected["shift"][rows].mean()}
        table.append(row | estimate.row())
    return pd.DataFrame(table)


def take_noise(clips: pd.DataFrame, features: Features, means: pd.DataFrame, resampling: Resampling) -> Estimate:
    """Standard deviation of the position between clips of one speaker in one language, over the lines to all groups.

    Arguments as in `language_shifts`. UserError if nobody is recorded twice in a language.
    """
    places = positions(features, clips["group"], means)
    takes = places.groupby([clips["speaker_id"], clips["language"]])
    free = 1 - 1 / takes.transform("size").to_numpy(
        float
    )  # degrees of freedom: squares about a mean of few takes are too small
    if not free.any():
        raise UserError("Nobody is recorded twice in a language: record at least two takes.")
    squares = np.square(places - takes.transform("mean")).mean(axis=1)
    return bootstrap.combine(
        np.sqrt, bootstrap.ratio(squares, free, clips["speaker_id"], resampling), resampling=resampling
    )


def mismatch_shift(clips: pd.DataFrame, features: Features, means: pd.DataFrame, resampling: Resampling) -> Estimate:
    """Position of speakers of another group's language less that of speakers of the same group's own language.

    Unpaired, as these are different people: on the line to the language's group, averaged over the clips in another
    group's language, for groups that also speak their own. Arguments as in `language_shifts`; UserError if no clip is
    left.
    """
    group, home = clips["group"].to_numpy(), clips["home"].to_numpy()
    comparable = (group != home) & np.isin(group, group[group == home])
    if not comparable.any():
        raise UserError("Nobody speaks another group's language: lower the confound of the test speakers.")
    places, columns = positions(features, clips["group"], means), []
    for own, other in sorted(set(zip(group[comparable], home[comparable], strict=True))):
        place = np.nan_to_num(places[other].to_numpy(float))
        for spoken in (other, own):
            here = ((group == own) & (home == spoken)).astype(float)
            columns += [here * place, here]

    def difference(sums: Float[np.ndarray, "replicates columns"]) -> Float[np.ndarray, "replicates"]:
        far, n, near, of = sums.reshape(len(sums), -1, 4).transpose(2, 0, 1)
        gaps = far - n * near / np.where(of > 0, of, np.nan)
        return gaps.sum(axis=1) / np.where(n.sum(axis=1) > 0, n.sum(axis=1), np.nan)

    return bootstrap.from_sums(np.stack(columns, axis=1), difference, clips["speaker_id"], resampling)


def drawn_groups(clips: pd.DataFrame, painted: Column, resampling: Resampling) -> dict[str, dict[str, float]]:
    """Share of clips drawn as the speaker's own group and as the language's, in own and in another group's language.

    `clips` as in `language_shifts`; `painted`: the group read off each drawn face.
    """
    group, home, painted = clips["group"].to_numpy(), clips["home"].to_numpy(), np.asarray(painted)
    cases = {
        "own_language_own_group": (group == home, group),
        "other_language_own_group": (group != home, group),
        "other_language_its_group": (group != home, home),
    }
    return {
        name: bootstrap.interval((painted == label)[rows], clips.loc[rows, "speaker_id"], resampling, share=True).row()
        for name, (rows, label) in cases.items()
    }


# Several clips of the same speaker


def _by_confidence(clips: Clips) -> Float[np.ndarray, "speakers groups dim"]:
    """Mean weighted by the distance of each prediction from the average one: an uncertain prediction is near it."""
    weights = np.linalg.norm(clips - clips.mean(axis=(0, 1, 2)), axis=-1, keepdims=True)
    return (clips * weights).sum(axis=2) / weights.sum(axis=2)


# The mean comes first: the others are compared with it. The sum of likelihood-ratio scores is no other rule: the score
# is linear in the voice, but for a part that is the same for all faces, so it ranks them as the mean does.
FUSIONS: dict[str, Callable[[Clips], Float[np.ndarray, "speakers groups dim"]]] = {
    "mean": lambda clips: clips.mean(axis=2),
    "median": lambda clips: np.median(clips, axis=2),
    "confidence": _by_confidence,
}


def fused_recall(
    predicted: Float[np.ndarray, "speakers clips dim"],
    gallery: Float[np.ndarray, "people dim"],
    own: Int[np.ndarray, "speakers"],
    counts: Sequence[int],
    metric: Metric,
    resampling: Resampling,
    items: int = 10,
    size: int = 100,
) -> pd.DataFrame:
    """Recall@`items` of `size` when the predictions of several clips are fused: one row per rule and number of clips.

    Args:
        predicted: predicted embeddings, as many clips for each speaker.
        gallery: embeddings of the faces.
        own: the gallery row of each speaker.
        counts: numbers of clips to fuse, none more than there are (UserError); all clips are used for each, in groups.
        metric: the score, as `similarity.pairwise` takes it.
        resampling: how intervals are made.
        items: number of faces shown.
        size: faces in the gallery that is searched.

    Returns:
        Columns `rule`, `clips`, those of an estimate, and paired differences with interval: `gain` from single clips,
        `beyond_mean` from the mean of as many clips.
    """
    finite(predicted_feature=predicted, gallery_feature=gallery)
    if max(counts) > predicted.shape[1]:
        raise UserError(f"{max(counts)} clips cannot be fused where there are {predicted.shape[1]}: record more.")

    def found(count: int, rule: str) -> Estimate:
        groups = predicted.shape[1] // count
        clips = predicted[:, : groups * count].reshape(len(predicted), groups, count, -1).astype(float)
        queries, speaker = FUSIONS[rule](clips).reshape(len(predicted) * groups, -1), own.repeat(groups)
        hits = recall_at(ranks(queries, gallery, speaker, metric), items, size)
        return bootstrap.interval(hits, speaker, resampling, share=True)

    single, rows = found(1, "mean"), []
    for count in counts:
        mean = found(count, "mean")
        for rule in FUSIONS:
            estimate = found(count, rule)
            row = {"rule": rule, "clips": count} | estimate.row()
            for name, reference in (("gain", single), ("beyond_mean", mean)):
                row |= bootstrap.difference(estimate, reference, resampling).row(name)
            rows.append(row)
    return pd.DataFrame(rows)
