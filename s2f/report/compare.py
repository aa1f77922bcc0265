"""Whether a run reproduced another: its numbers, conclusions, settings and counts beside the reference.

Two runs of one study ask the same speakers, so their numbers differ by what training adds alone: first weights, the
order of batches, and rounding, which differs between processors and works like another seed. The **null model** of a
true reproduction: a number has the variance B from training to training. Where a run is the mean of T trainings, the
interval of a number covers one more of them (`s2f.report.estimates`), so the variance behind it is B (1 + 1/T) at
least, and the difference of two such runs has 2 B / T: half of that for three trainings, and less than one number in a
hundred is expected outside. Where the reference is a single training, its intervals are over speakers alone, and
training is taken to make at most the share `TRAINING` of the variance behind them. (Measured between two machines: 6 %
outside.) Where the speakers differ too (another `data.seed`), runs differ by twice all of it.

Under that model two things are as good as impossible, each with probability `FALSE_ALARM`:

* that any headline, or the number behind any conclusion, lies further away than `tolerance` half widths (Bonferroni:
  this holds however the numbers depend on each other);
* that more than `allowed` of the numbers lie outside. Numbers of one file come from the same predictions, so in the
  worst case they are outside together: each file counts as one, with the share of its numbers; the count is binomial.

What training cannot change must be equal: settings (seeds, threads and the like aside), and counts of people, clips and
weights. Only these tell a run whose fault moves the numbers by less than another training does. Which notebooks have
other code is shown beside them.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from scipy import stats

from s2f.report import estimates, headlines
from s2f.report.estimates import Number
from s2f.report.headlines import HEADLINES
from s2f.study import config, provenance
from s2f.study.paths import Study, UserError

TRAINING = 0.5  # largest share of training in the variance behind an interval
FALSE_ALARM = 0.01  # of each of the two tests
# Settings that change nothing but chance, speed or rounding, wherever they stand; and a section of words.
FREE = {"seed", "seeds", "threads", "workers", "precision", "checkpoint_minutes"}
WORDS = "report"
SAMPLE = "data.seed"  # another one draws other speakers
COUNTED = ("data", "features", "train", "predict")  # results that count people, clips, weights and the like
SHOWN = 10  # departures
RECORD = "run.json"


class Run(NamedTuple):
    """What one run left."""

    name: str
    results: dict  # results/*.json by file name
    settings: dict  # params.yaml
    made: dict  # results/run.json: commit, machine, versions, minutes; empty where it was not recorded


class Departure(NamedTuple):
    """A number of both runs."""

    key: str
    reference: Number
    here: Number

    @property
    def inside(self) -> bool:
        """Whether it lies in the interval of the reference, or is equal: an interval need not hold its own number."""
        value = self.here.value
        return value == self.reference.value or self.reference.low <= value <= self.reference.high

    @property
    def half_widths(self) -> float:
        """How far the two lie apart, with its sign, in half widths: the root mean square of those of both intervals."""
        difference = self.here.value - self.reference.value
        width = math.hypot(self.here.half_width, self.reference.half_width) / math.sqrt(2)
        return 0.0 if difference == 0 else difference / width if width > 0 else math.copysign(math.inf, difference)


class Changed(NamedTuple):
    """A conclusion that is another one in this run."""

    reference: str
    here: str
    half_widths: float
    noise: bool  # the numbers behind it differ by no more than training does


class Trainings(NamedTuple):
    """How many trainings the numbers of two runs are the mean of."""

    reference: int
    here: int


SINGLE = Trainings(1, 1)


class Sentences(NamedTuple):
    """Sentences of the results that only one of two runs has, their numbers aside."""

    gone: list[str]
    new: list[str]


class Comparison(NamedTuple):
    """A run beside its reference."""

    reference: str
    departures: list[Departure]  # of all numbers of both, the largest first
    missing: list[str]  # numbers of the reference that this run does not have
    outside: dict[str, tuple[int, int]]  # numbers outside, missing ones among them, and all, by result file
    allowed: float  # mean over the files of the share outside, at most
    tolerance: float  # half widths
    headlines: dict[str, Departure]
    conclusions: int  # of the reference
    changed: list[Changed]
    sentences: Sentences
    counts: list[tuple[str, Any, Any]]  # that differ: key, reference, here
    settings: list[tuple[str, Any, Any]]
    trainings: Trainings
    made: dict[str, tuple[str, str]]  # machine and the like: reference, here

    @property
    def share_outside(self) -> float:
        """Mean over the result files of the share of their numbers that are outside."""
        shares = [outside / total for outside, total in self.outside.values()]
        return sum(shares) / len(shares)

    @property
    def reasons(self) -> list[str]:
        """Why it is no reproduction: a sentence each."""
        settings = [f"The setting {key} is {here!r} for {old!r}." for key, old, here in self.settings if binds(key)]
        counts = [f"The count {key} is {here} for {before}." for key, before, here in self.counts]
        far = [
            f"{name} is {number.here.value:.3g} for {_with_interval(number.reference)}: "
            f"{abs(number.half_widths):.1f} half widths apart, trainings {self.tolerance:.1f} at most."
            for name, number in self.headlines.items()
            if abs(number.half_widths) > self.tolerance
        ]
        lost = [f"The headline {name} is missing." for name, key in HEADLINES.items() if key in self.missing]
        concluded = [f'"{change.reference}" has become "{change.here}"' for change in self.changed if not change.noise]
        reasons = [*settings, *counts, *far, *lost, *concluded]
        if self.share_outside > self.allowed:
            reasons.append(
                f"On average {self.share_outside:.0%} of the numbers of a result file are outside; with training alone "
                f"it is {self.allowed:.0%} at most."
            )
        return reasons

    @property
    def reproduced(self) -> bool:
        return not self.reasons

    @property
    def verdict(self) -> str:
        """One sentence."""
        total = sum(total for _, total in self.outside.values())
        inside = total - sum(outside for outside, _ in self.outside.values())
        noise = sum(change.noise for change in self.changed)
        same = self.conclusions - len(self.changed)
        which = f"{same} of {self.conclusions}" if self.changed else f"all {same}"
        undecided = f", {noise} within the noise of training" if noise else ""
        word = "Reproduced" if self.reproduced else "Not reproduced"
        numbers = f"{inside:,} of {total:,} numbers within their intervals"
        return f"{word}: {numbers}, {which} conclusions the same{undecided}."

    @property
    def details(self) -> list[str]:
        """What differs, in lines: numbers, conclusions, sentences, settings, and what both runs were made by."""
        equal = sum(number.half_widths == 0 for number in self.departures)
        lines = [f"Reference: {self.reference}. {equal:,} numbers are equal to six digits."]
        if max(self.trainings) > 1:
            lines.append(f"Numbers are means of {self.trainings.here} trainings, there of {self.trainings.reference}.")
        if outside := [f"{name} {out} of {total}" for name, (out, total) in self.outside.items() if out]:
            lines.append(f"Outside, by file: {', '.join(outside)}.")
        if self.missing:
            lines.append(f"Missing: {len(self.missing):,} numbers of the reference, the first {self.missing[0]}.")
        if equal < len(self.departures):
            lines.append("Furthest apart, in half widths of their intervals:")
            lines += [
                f"  {number.half_widths:+.1f}  {number.key}: {number.here.value:.3g} for "
                f"{_with_interval(number.reference)}"
                for number in self.departures[:SHOWN]
                if number.half_widths
            ]
        lines += [
            f'Within the noise of training: "{change.reference}" and "{change.here}"'
            for change in self.changed
            if change.noise
        ]
        lines += [f"Gone: {sentence}" for sentence in self.sentences.gone]
        lines += [f"New: {sentence}" for sentence in self.sentences.new]
        lines += [f"Setting {key}: {here!r} for {before!r}." for key, before, here in self.settings if not binds(key)]
        lines += [
            f"{name}: {here}" if before == here else f"{name}: {here}; of the reference: {before}"
            for name, (before, here) in self.made.items()
        ]
        return lines


def binds(key: str) -> bool:
    """Whether a setting must be the same in a run and its reproduction."""
    return not (key.rpartition(".")[2] in FREE or key.startswith(f"{WORDS}."))


def _with_interval(number: Number) -> str:
    return f"{number.value:.3g} [{number.low:.3g}, {number.high:.3g}]"


def spread(another_sample: bool, trainings: Trainings = SINGLE) -> float:
    """The standard deviation, in half widths, of the difference of two runs under the null model, at most."""
    if another_sample:
        variance = 2.0
    elif trainings.reference > 1:
        variance = (1 / trainings.reference + 1 / trainings.here) / (1 + 1 / trainings.reference)
    else:
        variance = TRAINING * (1 + 1 / trainings.here)
    return variance**0.5 / stats.norm.isf(0.025)


def tolerance(numbers: int, another_sample: bool = False, trainings: Trainings = SINGLE) -> float:
    """The half widths by which none of so many numbers departs in a true reproduction, but for `FALSE_ALARM`."""
    return spread(another_sample, trainings) * stats.norm.isf(FALSE_ALARM / 2 / max(numbers, 1))


def allowed(files: int, another_sample: bool = False, trainings: Trainings = SINGLE) -> float:
    """The share of numbers outside, as a mean over so many files, that a true reproduction stays below likewise."""
    outside = 2 * stats.norm.sf(1 / spread(another_sample, trainings))
    return stats.binom.isf(FALSE_ALARM, files, outside) / files


def compare(here: Run, reference: Run) -> Comparison:
    """Set a run beside a reference. UserError where the reference has no number with an interval."""
    known, expected = estimates.numbers(here.results), estimates.numbers(reference.results)
    if not expected:
        raise UserError(f"{reference.name} holds no results with intervals: name a commit or a folder that does.")
    both = [Departure(key, number, known[key]) for key, number in expected.items() if key in known]
    both.sort(key=lambda number: -abs(number.half_widths))
    missing = [key for key in expected if key not in known]
    settings = _differences(reference.settings, here.settings)
    another_sample = any(key == SAMPLE for key, _, _ in settings)
    trainings = Trainings(*(estimates.trained(run.results) for run in (reference, here)))

    outside = {}
    beyond = {number.key for number in both if not number.inside} | set(missing)
    for key in expected:
        file = key.partition(".")[0]
        out, total = outside.get(file, (0, 0))
        outside[file] = (out + (key in beyond), total + 1)

    by_key = {number.key: number for number in both}
    main = {name: by_key[key] for name, key in HEADLINES.items() if key in by_key}
    concluded = headlines.conclusions(reference.results)
    worst = reference.results.get("audit", {}).get("worst")
    now = {conclusion.key: conclusion for conclusion in headlines.conclusions(here.results, worst)}
    judged = {number.key for number in main.values()} | {conclusion.key for conclusion in concluded}
    limit = tolerance(len(judged), another_sample, trainings)
    changed = []
    for conclusion in concluded:
        other = now.get(conclusion.key)
        if other is None or other.side != conclusion.side:
            away = by_key[conclusion.key].half_widths if conclusion.key in by_key else math.inf
            says = other.sentence if other else "nothing: its number is missing."
            changed.append(Changed(conclusion.sentence, says, away, abs(away) <= limit))

    return Comparison(
        reference.name,
        both,
        missing,
        outside,
        allowed(len(outside), another_sample, trainings),
        limit,
        main,
        len(concluded),
        changed,
        _sentences(reference.results, here.results),
        _counts(reference.results, here.results),
        settings,
        trainings,
        _made(reference.made, here.made),
    )


def _differences(before: Any, here: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The dotted keys with other values in two nested dicts that both have them."""
    if isinstance(before, Mapping) and isinstance(here, Mapping):
        nested = [_differences(before[key], here[key], f"{path}.{key}") for key in before if key in here]
        return [difference for part in nested for difference in part]
    return [] if before == here else [(path.removeprefix("."), before, here)]


def _counts(before: dict, here: dict) -> list[tuple[str, int, int]]:
    """The counts that differ, of people, clips and the like."""
    both = [{name: results[name] for name in COUNTED if name in results} for results in (before, here)]
    return [found for found in _differences(*both) if isinstance(found[1], int)]


def _sentences(before: dict, here: dict) -> Sentences:
    """What the results say in words: the group that is served worst, and what recordings do to faces."""

    def by_words(results: dict) -> dict[str, str]:
        worst = results.get("audit", {}).get("worst", {}).get("sentence")
        sentences = [*([worst] if worst else []), *results.get("robustness", {}).get("beyond", [])]
        return {re.sub(r"[-+]?\d[\d.,]*", "#", sentence): sentence for sentence in sentences}

    old, new = by_words(before), by_words(here)
    return Sentences([old[key] for key in old if key not in new], [new[key] for key in new if key not in old])


def _made(before: dict, here: dict) -> dict[str, tuple[str, str]]:
    """What both runs were made by, in words: reference, here. Of the versions, those that differ."""
    code = [name.removeprefix("code.") for name, *_ in _differences(before, here) if name.startswith("code.")]
    differ = [name.removeprefix("versions.") for name, *_ in _differences(before, here) if name.startswith("versions.")]

    def in_words(made: dict) -> dict[str, str]:
        if not made:
            return {}
        versions = made["versions"]
        shown = ", ".join(f"{name} {versions[name]}" for name in differ) if differ else f"{len(versions)} packages"
        minutes = f"{sum(made['minutes'].values()):.0f} in {len(made['minutes'])} notebooks"
        return {"Commit": made["commit"], "Machine": made["machine"], "Versions": shown, "Minutes": minutes}

    old, new = in_words(before), in_words(here)
    if code:
        old["Code"] = new["Code"] = f"differs in {', '.join(code)}"
    return {name: (old.get(name, "not recorded"), new.get(name, "not recorded")) for name in new | old}


# ---- where runs are


def of_study(study: Study) -> Run:
    """What lies in a study."""
    results = estimates.load(study.results)
    made = _read(study.results / RECORD)
    return Run("this run", results, made["parameters"] if made else config.read(study.params), made)


def _read(file: Path) -> dict:
    """The record of a run; empty where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def of_folder(folder: Path) -> Run:
    """What lies in a folder of results, or in that of a study; settings as recorded there."""
    if (folder / "results").is_dir():
        folder = folder / "results"
    made = _read(folder / RECORD)
    return Run(str(folder), estimates.load(folder), made.get("parameters", {}), made)


def of_revision(study: Study, revision: str) -> Run:
    """What Git holds of a study. UserError for a revision that it does not know."""
    name = provenance.resolved(study.root, revision)
    if not name:
        raise UserError(f"{revision!r} is neither a folder nor a commit of {study.root}: name one with results.")
    texts = provenance.committed(study.root, name, "results/")
    results = {Path(file).stem: json.loads(text) for file, text in texts.items()}
    made = results.get("run", {})
    (params,) = provenance.committed(study.root, name, "params.yaml").values() or ("",)
    settings = made.get("parameters") or YAML(typ="safe", pure=True).load(params) or {}
    of_stages = {name: content for name, content in results.items() if name not in estimates.WRITTEN_FROM_OTHERS}
    known = revision if name.startswith(revision) else f"{revision} ({name[:10]})"
    return Run(known, estimates.over_trainings(of_stages), settings, made)


def with_reference(study: Study, reference: str) -> Comparison:
    """A study beside a reference, which is a folder of results or a Git revision."""
    place = Path(reference)
    return compare(of_study(study), of_folder(place) if place.is_dir() else of_revision(study, reference))


def with_head(study: Study, results: dict, made: dict) -> Comparison | None:
    """A run whose results are at hand beside those of the study in Git; None where Git holds none."""
    try:
        reference = of_revision(study, "HEAD")
        return compare(Run("this run", results, made["parameters"], made), reference)
    except UserError:
        return None
