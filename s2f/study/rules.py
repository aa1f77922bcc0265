"""Settings compared with one another, before anything starts.

`s2f.study.config` says what a section allows by itself. A rule here names the keys that it compares, what must hold of
their values, and why, in words; it concerns the studies that have these keys. A new section adds its rules to `RULES`.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from s2f.study import config
from s2f.study.paths import UserError

# Languages of which two are spoken by one group of the synthetic world.
PAIRS = ({"en-us", "de"}, {"es", "fr"})
# Losses without the term that compares identity scores.
WITHOUT_SCORES = {"first_only", "cosine_only", "without_distill", "feature_l1", "pixel_l1"}
GROUPS = {"G1", "G2", "G3", "G4"}
COMPARED_RUNS = {"full", "no_batch_norm", "six_seconds", "contrastive"}  # the runs that 71_ablation_table shows by name
RUNS_BY_LENGTH = {"full", "six_seconds"}


class Rule(NamedTuple):
    """A condition on the values of some keys, such as `retrieval.gallery`; `ablations` is the names of the runs."""

    keys: tuple[str, ...]
    holds: Callable[..., bool]
    why: str


def _largest(value: Any) -> int | float:
    return max(value) if isinstance(value, list) else value


def _at_most(part: Any, whole: Any) -> bool:
    return _largest(part) <= _largest(whole)


def _less(part: Any, whole: Any) -> bool:
    return _largest(part) < _largest(whole)


def _among(part: Any, whole: Any) -> bool:
    return set(part if isinstance(part, list) else [part]) <= set(whole)


def _differ(values: list) -> bool:
    return len(set(values)) == len(values)


def _as_noted(weights: str | None, folder: Path) -> bool:
    """Whether a file has the digest that stands in a file beside it, .sha256, where there is one."""
    path, noted = folder / str(weights), folder / f"{weights}.sha256"
    if not (path.is_file() and noted.is_file()):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == noted.read_text(encoding="utf-8").split()[0].lower()


TEST, TRAIN, SECONDS = "data.test_speakers", "data.train_speakers", "data.test_seconds"
RULES = (
    Rule(("data.group_shares",), lambda shares: set(shares) == GROUPS, "the groups of the world are G1 to G4"),
    Rule(("null_world.group_shares",), lambda shares: set(shares) == GROUPS, "the groups of the world are G1 to G4"),
    Rule(("retrieval.gallery", TEST), _at_most, "galleries are drawn from the test speakers"),
    Rule(("matching.seen_speakers", TRAIN), _at_most, "they are drawn from the training speakers"),
    Rule(("same_speaker.fused_speakers", TEST), _at_most, "they are test speakers"),
    Rule(
        ("same_speaker.speakers_per_group", "data.group_shares", TEST),
        lambda each, groups, test: each * len(groups) <= test,
        "there must be so many test speakers of each group",
    ),
    Rule(
        ("same_speaker.segment_seconds", SECONDS),
        lambda part, whole: 2 * part <= whole,
        "two segments must fit into a test recording",
    ),
    Rule(("voice_probes.speakers", TEST), _at_most, "they are test speakers"),
    Rule(("voice_probes.speakers",), lambda speakers: speakers % 2 == 0, "there are as many women as men"),
    Rule(("robustness.speakers", TEST), _at_most, "they are test speakers"),
    Rule(("robustness.validation_speakers", "data.val_speakers"), _at_most, "they are validation speakers"),
    Rule(("robustness.telephone",), lambda khz: all(1 <= k < 8 for k in khz), "the band must lie within 1 and 8 kHz"),
    Rule(("robustness.codec",), lambda kbits: all(8 < k < 160 for k in kbits), "MP3 takes 8 to 160 kbit/s"),
    Rule(("robustness.reverberation",), lambda s: all(0.1 <= t <= 5 for t in s), "a room decays in 0.1 to 5 s"),
    Rule(("feature_space.shown", TEST), _at_most, "they are test speakers"),
    Rule(
        ("feature_space.perplexity", TEST),
        lambda perplexity, test: perplexity < 2 * test,
        "the map has two points for each test speaker, and needs more points than that",
    ),
    Rule(("feature_space.neighbours", TEST), _less, "they are counted among the test speakers"),
    Rule(("cartoon.shown", TEST), _at_most, "they are test speakers"),
    Rule(("audit.minimum_speakers", TEST), _at_most, "groups are made of test speakers"),
    Rule(("lineup.minimum_speakers", TEST), _at_most, "groups are made of test speakers"),
    Rule(("lineup.members", TEST), _less, "line-ups are made of test speakers"),
    Rule(("lineup.firsts", TEST), _less, "they are places in a ranking of the test speakers"),
    Rule(("galleries.sizes", TEST), lambda sizes, test: max(sizes) > test, "galleries begin with the test speakers"),
    Rule(("galleries.population", TEST), lambda people, test: people > test, "the test speakers are among them"),
    Rule(("galleries.cells", "galleries.sizes"), _at_most, "a cell holds at least one face"),
    Rule(("galleries.probes", "galleries.cells"), _at_most, "a search looks at no more cells than there are"),
    Rule(("languages.speakers", TEST), _at_most, "they are test speakers"),
    Rule(
        ("languages.languages",),
        lambda languages: set(languages) in PAIRS,
        "they must be two that one group speaks: en-us and de, or es and fr",
    ),
    Rule(("predict.durations", SECONDS), _at_most, "a test recording has no more"),
    Rule(("predict.durations",), _differ, "each counts once"),
    Rule(("predict.headline_seconds", "predict.durations"), _among, "it must be one of the durations"),
    Rule(("ablation_table.durations", SECONDS), _at_most, "a test recording has no more"),
    Rule(("predict.headline_seconds", "ablation_table.durations"), _among, "it must be one of the durations"),
    Rule(("trainings.seeds",), _differ, "each counts once"),
    Rule(
        ("trainings.seeds", "train.seed"),
        lambda others, first: first not in others,
        "that of the first training is none of a further one",
    ),
    Rule(("ablation_table.by_length", "ablations"), _among, "they must be names of runs"),
    Rule(
        ("ablation_table.by_length",),
        lambda runs: RUNS_BY_LENGTH <= set(runs),
        f"{' and '.join(sorted(RUNS_BY_LENGTH))} are shown by duration",
    ),
    Rule(
        ("ablations",),
        lambda runs: COMPARED_RUNS <= set(runs),
        f"{', '.join(sorted(COMPARED_RUNS))} must be among the runs",
    ),
    Rule(
        ("train.loss", "face_model.feature"),
        lambda loss, feature: feature != "dlib" or loss in WITHOUT_SCORES,
        "the loss compares identity scores, which the feature dlib has not: use without_distill",
    ),
    Rule(
        ("ablations.loss", "face_model.feature"),
        lambda losses, feature: feature != "dlib" or set(losses) <= WITHOUT_SCORES,
        "some of the losses compare identity scores, which the feature dlib has not",
    ),
    Rule(
        ("face_model.weights", "folder"),
        lambda weights, folder: weights is None or (folder / weights).is_file(),
        "there is no such file",
    ),
    Rule(
        ("face_model.weights", "folder"), _as_noted, "its bytes are not those of the .sha256 beside it: fetch it again"
    ),
    Rule(
        ("scale.parts", "train.batch"),
        lambda parts, batch: batch % parts == 0,
        "the parts of a batch are of one size",
    ),
    Rule(
        ("scale.fused", "train.batch_norm"),
        lambda fused, batch_norm: batch_norm or not fused,
        "the fused kernels fold batch normalisation into the convolutions",
    ),
    Rule(
        ("face_model.feature", "data.size"),
        lambda feature, size: feature != "large" or size % 32 == 0,
        "the large encoder halves the photographs five times",
    ),
    Rule(("mitigation.seeds",), _differ, "each training has a seed of its own"),
    Rule(("null_world.size", "data.size"), lambda a, b: a == b, "the face model is that of `data`"),
)


def check(sections: Mapping[str, Any], path: Path, settings: config.Section | None = None) -> None:
    """Refuse settings that do not go together.

    Args:
        sections: what the params file of a study holds.
        path: that file.
        settings: a section to take in place of the file's, where a run was given other values.

    Raises:
        UserError: a sentence for each rule that is broken, with the keys and their values.
    """
    known: dict[str, Any] = {"folder": Path(path).parent}
    for name, model in (config.SECTIONS | config.OPTIONAL).items():
        try:
            known[name] = model.model_validate(sections[name])
        except (KeyError, ValidationError):
            continue  # another study's, or refused by itself
        if type(settings) is model:  # the null world is a world, but not the study's
            known[name] = settings
    problems = []
    for rule in RULES:
        try:
            values = {key: _value(known, key) for key in rule.keys}
        except (KeyError, AttributeError):
            continue
        if not rule.holds(*values.values()):
            shown = " and ".join(f"{key} is {value!r}" for key, value in values.items() if key != "folder")
            problems.append(f"{shown}, but {rule.why}.")
    if problems:
        raise UserError(f"{path}: {' '.join(problems)}")


def _value(known: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    part = known[section]
    if isinstance(part, config.Ablations):
        return [getattr(run, name or "run") for run in part.root.values()]
    return getattr(part, name) if name else part
