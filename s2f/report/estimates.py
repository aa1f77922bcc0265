"""The numbers of a study as results/*.json hold them, each with its interval, over speakers and over trainings.

A stage measures the predictions of one training, and its intervals resample speakers. Where the stage `trainings` has
repeated the training from other seeds, a number is the mean over all trainings, and its interval covers what *one more
training* would score *on other speakers*. With W the variance over speakers, B that from training to training
(moderated: `s2f.metrics.variance`) and T trainings, the mean of them differs from that by W + B (1 + 1/T). Numbers of
stages that were not repeated get the B that the others lead one to expect.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from s2f.metrics import variance

WRITTEN_FROM_OTHERS = {"report", "metrics", "run"}  # results that repeat numbers of the stages, or hold none
REPEATED = {"audit.worst."}  # another row each time, as the case may be, which stands elsewhere as well
ESTIMATES = ("value", "r", "mean", "slope", "ratio")  # names of the number that `low` and `high` belong to
TRAININGS = "trainings"  # the result that holds what the other trainings gave
BEFORE_TRAINING = {"data", "face_model"}  # results that no training of the voice encoder changes
# A finding holds where it does in every training: of these names the largest counts.
SIGNIFICANCE = ("p", "p_adj", "p_raw", "p_adjusted")


NOTHING_EXPECTED = variance.Prior(0.0, 0.0)  # a variance counts as it was measured


class Number(NamedTuple):
    """A number with its 95 % interval, and what chance gives where that is known."""

    value: float
    low: float
    high: float
    chance: float | None = None

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def side(self, boundary: float) -> int:
        """1 or -1 if the whole interval lies above or below the boundary, otherwise 0."""
        return int(self.low > boundary) - int(self.high < boundary)


class Pooled(NamedTuple):
    """A number over all trainings, beside that of the first with its interval over speakers alone."""

    number: Number
    first: Number
    trainings: tuple[float, ...]  # what each gave; only the first where it was not repeated
    share: float  # of training in the variance behind the interval


def load(folder: Path) -> dict:
    """All results/*.json of the stages, by name, over all trainings, without what the report makes of them."""
    return over_trainings(as_written(folder))


def as_written(folder: Path) -> dict:
    """All results/*.json of the stages, by name: those of the first training, and what is known of the others."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
        if path.stem not in WRITTEN_FROM_OTHERS
    }


def numbers(results: dict) -> dict[str, Number]:
    """Every number with an interval, by its dotted key, such as `retrieval.shares.recall_at_10.value`.

    An interval is `low` and `high` beside one of `ESTIMATES`, or `NAME_low` and `NAME_high` beside `NAME`.

    Args:
        results: what the stages left in results/*.json, by file name.
    """
    return {place.key: place.number for place in _places(results, "") if place.key.partition(".")[0] != TRAININGS}


class _Place(NamedTuple):
    """Where a number with an interval stands."""

    key: str
    number: Number
    record: dict
    names: tuple[str, str, str]  # of the number and its limits in the record


def _places(value: dict | list, path: str) -> Iterator[_Place]:
    if isinstance(value, dict):
        for low in [key for key in value if key == "low" or key.endswith("_low")]:
            stem = low[: -len("low")]
            options = [stem[:-1]] if stem else ESTIMATES
            name = next((name for name in options if name in value), None)
            found = [value.get(key) for key in (name, low, f"{stem}high")]
            if all(isinstance(part, int | float) for part in found):
                number = Number(*found, None if stem else value.get("chance"))
                yield _Place(f"{path}{name}", number, value, (name, low, f"{stem}high"))
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in members:
        if isinstance(member, dict | list) and f"{path}{key}." not in REPEATED:
            yield from _places(member, f"{path}{key}.")


# ---- several trainings


def trained(results: dict) -> int:
    """Of how many trainings the numbers of a study are the mean."""
    return len(results[TRAININGS]["seeds"]) if TRAININGS in results else 1


def beside(first: dict, others: Sequence[dict]) -> dict[str, list[float]]:
    """The numbers that differ from training to training, by dotted key: that of the first and those of the others.

    Records that say something else in words in another training are left out: they are of something else.

    Args:
        first: results of the first training, by file name.
        others: of the further ones; what is not in all of them is left out.
    """
    return {
        key: list(values)
        for key, values in _aligned("", (first, *others))
        if len(set(values)) > 1 and not key.endswith(("low", "high"))
    }


def trainings(first: dict, others: dict[int, dict], seed: int) -> dict:
    """What further trainings of a study gave, as the stage `trainings` writes it and `over_trainings` reads it.

    Args:
        first: the results of the study, by file name.
        others: those of the further trainings by seed (`study.repeats.repeat`).
        seed: of the first training.
    """
    files = sorted(set(first).intersection(*others.values()))
    repeated = {name: first[name] for name in files}
    in_all = {key for key, _ in _aligned("", (repeated, *others.values()))}
    return {
        "seeds": [seed, *others],
        "files": files,
        "numbers": beside(repeated, list(others.values())),
        "unmatched": [key for key in numbers(repeated) if key not in in_all],
    }


def _aligned(path: str, values: tuple) -> Iterator[tuple[str, tuple]]:
    first = values[0]
    if all(isinstance(value, dict) for value in values):
        words = [tuple(value.get(key) for key in first if isinstance(first[key], str)) for value in values]
        if len(set(words)) == 1:
            for key in first:
                if all(key in value for value in values):
                    yield from _aligned(f"{path}.{key}", tuple(value[key] for value in values))
    elif all(isinstance(value, list) and len(value) == len(first) for value in values):
        for index in range(len(first)):
            yield from _aligned(f"{path}.{index}", tuple(value[index] for value in values))
    elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        yield path.removeprefix("."), values


def pooled(results: dict) -> dict[str, Pooled]:
    """The numbers with intervals over all trainings, by dotted key; empty where there was only one training.

    Args:
        results: as the stages wrote them (`as_written`).
    """
    again = results.get(TRAININGS)
    if not again:
        return {}
    found = numbers(results)
    measured = {key: again["numbers"][key] for key in found if key in again["numbers"]}
    degrees = len(again["seeds"]) - 1
    scales = {key: _variance(found[key]) for key in found}
    spreads = {key: float(np.var(values, ddof=1)) for key, values in measured.items()}

    def learned(keys: Sequence[str]) -> variance.Prior | None:
        spread, scale = (np.array([of[key] for key in keys]) for of in (spreads, scales))
        return variance.prior(spread, scale, degrees)

    everywhere = learned(list(measured))
    by_file = {file: learned([key for key in measured if _file(key) == file]) for file in again["files"]}
    pooled = {}
    for key, number in found.items():
        file = _file(key)
        if key in measured:
            expected, own = by_file.get(file) or everywhere or NOTHING_EXPECTED, degrees
        elif file in again["files"] and key not in again["unmatched"]:  # the same in every training
            pooled[key] = Pooled(number, number, (number.value,) * (degrees + 1), 0.0)
            continue
        elif file not in BEFORE_TRAINING and everywhere:  # not measured again
            expected, own = by_file.get(file) or everywhere, 0
        else:
            continue
        between, freedom = variance.moderated(np.array([spreads.get(key, 0.0)]), np.array([scales[key]]), own, expected)
        values = tuple(measured.get(key, [number.value]))
        share = key.endswith(".value")  # a correlation has another name
        pooled[key] = _widened(number, values, float(between[0]), freedom, share)
    return pooled


def _file(key: str) -> str:
    return key.partition(".")[0]


def _variance(number: Number) -> float:
    return (number.half_width / ndtri(0.975)) ** 2


def _widened(first: Number, trainings: tuple[float, ...], between: float, freedom: float, share: bool) -> Pooled:
    """The mean over trainings, with an interval for one more training on other speakers; of a share within 0 and 1."""
    further = between * (1 + 1 / len(trainings))
    reach = stdtrit(freedom, 0.975) * math.sqrt(further)
    value = float(np.mean(trainings))
    low = value - math.hypot(max(first.value - first.low, 0.0), reach)
    high = value + math.hypot(max(first.high - first.value, 0.0), reach)
    if share and 0 <= first.low <= first.high <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    over_speakers = _variance(first)
    of_training = further / (further + over_speakers) if further + over_speakers > 0 else 0.0
    return Pooled(Number(value, low, high, first.chance), first, trainings, of_training)


def over_trainings(results: dict) -> dict:
    """Results in which each number is the mean over all trainings, and its interval covers them.

    Of p values the largest counts. Counts, words and what only one training has stay as the first training left them.

    Args:
        results: as the stages wrote them (`as_written`); without the result of the stage `trainings` nothing changes.
    """
    again = results.get(TRAININGS)
    if not again:
        return results
    results = json.loads(json.dumps(results))
    wide = pooled(results)
    _average("", {name: result for name, result in results.items() if name != TRAININGS}, again["numbers"])
    for place in list(_places(results, "")):
        if place.key in wide:
            place.record.update(zip(place.names, wide[place.key].number[:3], strict=True))
    return results


def _average(path: str, value: Any, trainings: dict[str, list[float]]) -> None:
    """Replace in place each number that differs by its mean, or a p value by the largest."""
    for key, member in list(value.items() if isinstance(value, dict) else enumerate(value)):
        place = f"{path}{key}"
        if isinstance(member, dict | list):
            _average(f"{place}.", member, trainings)
        elif place in trainings and isinstance(member, float):
            value[key] = max(trainings[place]) if key in SIGNIFICANCE else float(np.mean(trainings[place]))
