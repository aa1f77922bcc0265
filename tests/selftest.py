"""The audit audited: simulated studies whose truth is known, and what the audit must find in them.

`python tests/selftest.py` makes all runs, prints a table, and exits with 1 if a check fails; the tests make a few of
them. Hits are Bernoulli with a rate for each speaker, beta distributed about the mean of the group, so the clips of a
speaker are correlated; shares and numbers with heavy tails vary between and within speakers as well. Where the speakers
of one group have fewer clips than those of others, their means vary more, and nothing else must be found to differ. A
run is a function of its seed. For matching, an observer who knows nothing but an attribute
must reach the score that follows from the make-up of a public corpus.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from jaxtyping import Float, Shaped
from joblib import Parallel, delayed
from scipy.stats import binomtest
from tqdm import tqdm

from s2f.fairness import audit
from s2f.metrics import bootstrap, matching, protocols

LEVEL = 0.05
PERMUTATIONS = 199  # 5 % of 200 tables, the observed one among them, is a whole number: the test is exact
REPLICATES = 1000
ROUNDING = 1e-12
OTHER = 1_000_000  # added to a seed, that of another study
SHARE_OF = 4  # trials of a clip, where a clip has a share of hits
CHUNK = 10  # runs handed to a process at once


@dataclass(frozen=True)
class Design:
    """A simulated study: speakers in each group, clips of each speaker (of each group), their intraclass correlation.

    `values` are hits, shares with the same means, or have heavy tails (Student's t with 3 degrees of freedom) and mean
    0. Those of the last group are lower than those of the others by `gap`.
    """

    sizes: tuple[int, ...]
    clips: int | tuple[int, ...] = 10
    correlation: float = 0.2
    hits: float = 0.6
    gap: float = 0.0
    values: str = "hits"

    def __str__(self) -> str:
        groups, clips = (" + ".join(map(str, np.ravel(counts))) for counts in (self.sizes, self.clips))
        return f"{groups} speakers, {clips} clips, correlation {self.correlation:g}, {self.values}"


class Sample(NamedTuple):
    """One row for each clip."""

    values: Float[np.ndarray, "clips"]
    groups: pd.DataFrame
    speakers: Shaped[np.ndarray, "clips"]


def sample(design: Design, seed: int) -> Sample:
    """One simulated study."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(design.sizes)), design.sizes)
    speakers = np.repeat(np.arange(len(group)), np.broadcast_to(design.clips, len(design.sizes))[group])
    lower = design.gap * (group == group.max())
    if design.values == "heavy tails":
        own, rest = (rng.standard_t(3, len(part)) for part in (group, speakers))
        values = np.sqrt(design.correlation) * own[speakers] + np.sqrt(1 - design.correlation) * rest - lower[speakers]
    else:
        level, concentration = design.hits - lower, 1 / design.correlation - 1
        own = rng.beta(level * concentration, (1 - level) * concentration)
        if design.values == "hits":
            values = (rng.random(len(speakers)) < own[speakers]).astype(float)
        else:
            values = rng.binomial(SHARE_OF, own[speakers]) / SHARE_OF
    return Sample(values, pd.DataFrame({"group": group[speakers].astype(str)}), speakers)


def rejects(design: Design, seed: int) -> bool:
    """Does any group differ from the rest (max-T at 5 %)?"""
    return _finds_any(_tested(design, seed))


def rejects_any_metric(design: Design, seed: int) -> bool:
    """The same for three metrics in one family: the hits, a number that goes with them, and one of its own."""
    drawn = sample(design, seed)
    rng = np.random.default_rng([seed, 1])
    years = 10 * rng.standard_normal(sum(design.sizes))[drawn.speakers] + rng.standard_normal(len(drawn.values))
    alike = drawn.values + 0.5 * rng.standard_normal(len(drawn.values))
    metrics = {
        "hits": audit.Metric(drawn.values, share=True),
        "alike": audit.Metric(alike),
        "years": audit.Metric(years, error=True),
    }
    return _finds_any(audit.by_group(metrics, *drawn[1:], _resampling(seed, 2), permutations=PERMUTATIONS))


def _finds_any(table: pd.DataFrame) -> bool:
    return bool(table.loc[table["family"] == "groups", "p_adj"].min() <= LEVEL)


def finds_the_gap(design: Design, seed: int) -> bool:
    """Is the last group found to be worse, as it is?"""
    last = _tested(design, seed).set_index("group").loc[str(len(design.sizes) - 1)]
    return bool(last["p_adj"] <= LEVEL and last["difference"] < 0)


def finds_what_it_states(design: Design, seed: int) -> bool:
    """Is a gap found that is as large as the audit of another such study states to be found in 80 % of studies?"""
    stated = _tested(design, seed + OTHER).set_index("group").loc[str(len(design.sizes) - 1), "mdd80_adj"]
    return finds_the_gap(replace(design, gap=float(stated)), seed)


def covers(design: Design, seed: int) -> bool:
    """Does the 95 % interval of the mean of all speakers hold the true mean? For designs without a gap."""
    drawn = sample(design, seed)
    found = bootstrap.interval(drawn.values, drawn.speakers, _resampling(seed), share=True)
    return bool(found.low <= design.hits <= found.high)


def narrowed_by_copies(design: Design, seed: int) -> float:
    """The most by which any interval gets narrower when every clip stands in the table twice."""
    drawn = sample(design, seed)
    once = _audited(drawn, seed)
    twice = _audited(Sample(*(_twice(part) for part in drawn)), seed)
    return float((_widths(once) - _widths(twice)).max())


def changed_by_order(design: Design, seed: int) -> float:
    """The most by which any number of the table changes when rows are shuffled and groups come in another order."""
    drawn = sample(design, seed)
    order = np.random.default_rng(seed).permutation(len(drawn.values))
    mixed = Sample(*(part.iloc[order] if isinstance(part, pd.DataFrame) else part[order] for part in drawn))
    before, after = (_audited(part, seed).set_index("group").select_dtypes("number") for part in (drawn, mixed))
    return float((before - after.loc[before.index]).abs().max(axis=None))


def apart_from_fairlearn(design: Design, seed: int) -> float:
    """The largest difference of a mean, of the gap, the ratio or the worst mean from fairlearn's."""
    drawn = sample(design, seed)
    frame = MetricFrame(
        metrics=lambda _, hits: hits.mean(), y_true=drawn.values, y_pred=drawn.values, sensitive_features=drawn.groups
    )
    theirs = frame.by_group.to_dict()
    theirs |= {"overall": frame.overall, "gap": frame.difference(), "ratio": frame.ratio(), "worst": frame.group_min()}
    ours = _audited(drawn, seed).set_index("group")["estimate"].to_dict()
    # The table has plain means of groups; those of the sums over speakers, which make the intervals, must agree.
    members = {name: (drawn.groups["group"] == name).to_numpy() for name in frame.by_group.index}
    sums = {
        name: bootstrap.interval(drawn.values[clips], drawn.speakers[clips], _resampling(seed, 2)).value
        for name, clips in members.items()
    }
    return max(abs(made[name] - theirs[name]) for made in (ours, sums) for name in made)


@dataclass(frozen=True)
class Census:
    """How many men and women of each nationality a corpus has."""

    name: str
    men_and_women: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        return f"{self.name}, {sum(map(sum, self.men_and_women.values())):,} speakers"

    def people(self) -> pd.DataFrame:
        """One row for each speaker, numbered."""
        rows = [
            (nation, gender)
            for nation, counts in self.men_and_women.items()
            for gender, count in zip("mf", counts, strict=True)
            for _ in range(count)
        ]
        return pd.DataFrame(rows, columns=["nationality", "gender"]).rename(index=str)


# Counted from the public metadata of VoxCeleb1 (Nagrani et al. 2017), which say of each speaker gender and nationality.
VOXCELEB1 = Census(
    "VoxCeleb1",
    {
        "USA": (431, 368), "UK": (127, 88), "Canada": (29, 25), "Australia": (25, 12), "India": (15, 11),
        "Norway": (13, 7), "Ireland": (13, 5), "New Zealand": (6, 2), "Germany": (4, 5), "Italy": (3, 5),
        "Mexico": (5, 2), "Sweden": (1, 4), "Russia": (0, 4), "Spain": (2, 2), "Switzerland": (3, 0),
        "Chile": (2, 1), "Croatia": (2, 1), "Denmark": (1, 2), "Netherlands": (1, 2), "Philippines": (1, 2),
        "Poland": (0, 2), "China": (1, 1), "Portugal": (1, 1), "Pakistan": (1, 0), "Singapore": (1, 0),
        "South Africa": (1, 0), "Sudan": (1, 0), "Austria": (0, 1), "Brazil": (0, 1), "France": (0, 1),
        "Guyana": (0, 1), "Iran": (0, 1), "Israel": (0, 1), "South Korea": (0, 1), "Sri Lanka": (0, 1),
        "Trinidad and Tobago": (0, 1),
    },
)  # fmt: skip
# What somebody who knows only these attributes scores there when matching 1 of 2 and 1 of 10, to a tenth of a point:
# the mean over people. With the mean chance of sharing an attribute in place of each person's own, the formula for 1 of
# 10 would give .198, .226 and .413.
ATTRIBUTE_CEILINGS = {
    ("gender",): {2: 0.748, 10: 0.200},
    ("nationality",): {2: 0.780, 10: 0.359},
    ("gender", "nationality"): {2: 0.889, 10: 0.494},
}


def attribute_matching(census: Census, attributes: Sequence[str], n: int) -> float:
    """1:N matching by an observer who knows these attributes of everybody and nothing else."""
    people = census.people()
    arm = protocols.attribute_arm(people, attributes, people.index, people.index)
    known, point = arm.queries.to_numpy(), _resampling(0, 2)
    return matching.matching(known, arm.gallery.to_numpy(), people.index.to_numpy(), point, n)["value"].item()


def apart_from_ceilings(census: Census, seed: int) -> float:
    """The largest difference from what attributes are known to score; nothing is drawn, so any seed gives the same."""
    return max(
        abs(attribute_matching(census, attributes, n) - ceiling)
        for attributes, ceilings in ATTRIBUTE_CEILINGS.items()
        for n, ceiling in ceilings.items()
    )


def _tested(design: Design, seed: int) -> pd.DataFrame:
    return _audited(sample(design, seed), seed, replicates=2)  # the intervals are not looked at


def _audited(drawn: Sample, seed: int, replicates: int = REPLICATES) -> pd.DataFrame:
    options = {"metric": "hits", "share": bool(drawn.values.min() >= 0), "permutations": PERMUTATIONS}
    return audit.disaggregate(*drawn, _resampling(seed, replicates), **options)


def _resampling(seed: int, replicates: int = REPLICATES) -> bootstrap.Resampling:
    return bootstrap.Resampling(seed=seed, replicates=replicates)


def _twice(part: np.ndarray | pd.DataFrame) -> np.ndarray | pd.DataFrame:
    return pd.concat([part, part]) if isinstance(part, pd.DataFrame) else np.tile(part, 2)


def _widths(table: pd.DataFrame) -> pd.Series:
    return (table["ci_hi"] - table["ci_lo"]).dropna()


@dataclass(frozen=True)
class Check:
    """Something that must hold: a share of runs (`exact` false) or the largest number of any run, from low to high."""

    name: str
    one: Callable[[Design | Census, int], float]
    design: Design | Census
    low: float = float("nan")  # NaN: no bound
    high: float = float("nan")
    exact: bool = False
    once: bool = False  # does a single run tell all?

    def run(self, seed: int) -> float:
        return float(self.one(self.design, seed))

    def row(self, values: Sequence[float]) -> dict:
        """The row of the table: `value`, for a share with its 95 % (Wilson) interval, what is required, `holds`."""
        row = {"check": self.name, "design": str(self.design), "runs": len(values)}
        if self.exact:
            row["value"] = max(values)
        else:
            of_runs = binomtest(int(sum(values)), len(values)).proportion_ci(method="wilson")
            row |= {"value": np.mean(values), "run_low": of_runs.low, "run_high": of_runs.high}
        missed = row["value"] < self.low or row["value"] > self.high
        return row | {"at_least": self.low, "at_most": self.high, "holds": not missed}


NULL = Design(sizes=(40, 40, 40, 40), clips=5)
FEW_CLIPS = Design(sizes=(160, 40), clips=(20, 1))
TWELVE = Design(sizes=(188, 12), clips=5)
PLANTED = Design(sizes=(100, 100), gap=0.15)
SMALL = Design(sizes=(40, 15))  # intervals of both kinds, percentile and cluster-t
EXACT = 0.035, 0.065
STATED = 0.75, 0.85
CHECKS = (
    Check("null data rejected", rejects, NULL, *EXACT),
    Check("null data rejected, three metrics", rejects_any_metric, NULL, *EXACT),
    Check("null data rejected, unequal groups", rejects, Design((120, 40, 20), clips=5), *EXACT),
    Check("null data rejected, group of twelve", rejects, TWELVE, *EXACT),
    Check("null data rejected, few clips", rejects, FEW_CLIPS, *EXACT),
    Check("null data rejected, few clips, three metrics", rejects_any_metric, FEW_CLIPS, *EXACT),
    Check("null data rejected, few clips, shares", rejects, replace(FEW_CLIPS, values="shares"), *EXACT),
    Check("null data rejected, few clips, heavy tails", rejects, replace(FEW_CLIPS, values="heavy tails"), *EXACT),
    Check("null data rejected, few clips, twelve", rejects, Design((388, 12), clips=(10, 2)), *EXACT),
    Check("null data rejected, many clips", rejects, Design((160, 40), clips=(1, 20)), *EXACT),
    Check("null data rejected, many clips, twelve", rejects, Design((388, 12), clips=(2, 10)), *EXACT),
    Check("null data rejected, fewer and fewer clips", rejects, Design((120, 40, 20), clips=(10, 4, 1)), *EXACT),
    Check("planted 15 points found", finds_the_gap, PLANTED, 0.95),
    Check("planted 15 points found, four groups", finds_the_gap, Design((100,) * 4, gap=0.15), 0.95),
    # What smaller studies can find is stated, not required; one of them is the default study, its smallest group worse.
    Check("planted 15 points found, few clips", finds_the_gap, Design((100, 100), clips=2, gap=0.15)),
    Check("planted 15 points found, few speakers", finds_the_gap, Design((50, 50), gap=0.15)),
    Check("planted 15 points found, default study", finds_the_gap, Design((200, 88, 64, 48), clips=2, gap=0.15)),
    Check("planted 20 points found, twelve", finds_the_gap, replace(TWELVE, gap=0.2)),
    Check("planted 20 points found, many clips, twelve", finds_the_gap, Design((388, 12), clips=(2, 10), gap=0.2)),
    Check("stated difference found", finds_what_it_states, Design((100, 100)), *STATED),
    Check("stated difference found, default study", finds_what_it_states, Design((200, 88, 64, 48), clips=2), *STATED),
    Check("stated difference found, twelve", finds_what_it_states, TWELVE, *STATED),
    Check("stated difference found, few clips", finds_what_it_states, FEW_CLIPS, *STATED),
    Check("interval holds the truth", covers, Design((50,)), 0.93, 0.97),
    Check("interval holds the truth, cluster-t", covers, Design((15,)), 0.92, 0.98),
    Check("interval narrowed by copies", narrowed_by_copies, SMALL, high=ROUNDING, exact=True),
    Check("table changed by order", changed_by_order, SMALL, high=ROUNDING, exact=True),
    Check("apart from fairlearn", apart_from_fairlearn, SMALL, high=ROUNDING, exact=True),
    Check("apart from known ceilings", apart_from_ceilings, VOXCELEB1, high=0.005, exact=True, once=True),
)


def table(checks: Sequence[Check], runs: int, exact_runs: int, workers: int) -> pd.DataFrame:
    """One row for each check (`Check.row`), with seeds from 0 on, so that the table is the same every time."""
    planned = [1 if check.once else exact_runs if check.exact else runs for check in checks]
    rows = []
    with (
        Parallel(workers, return_as="generator", batch_size=CHUNK) as parallel,
        tqdm(total=sum(planned), unit="run", mininterval=1) as bar,
    ):
        for check, count in zip(checks, planned, strict=True):
            values = []
            for value in parallel(delayed(check.run)(seed) for seed in range(count)):
                values.append(value)
                bar.update()
            rows.append(check.row(values))
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tests/selftest.py", description=__doc__.splitlines()[0])
    count = partial(parser.add_argument, type=int)
    count("--runs", default=2000, help="of each check that is a share of runs (default: 2000)")
    count("--exact-runs", default=50, help="of each check that must hold in every run (default: 50)")
    count("--workers", default=2, help="processes (default: 2)")
    found = table(CHECKS, **vars(parser.parse_args(arguments)))
    print(found.to_string(index=False, float_format="{:.3g}".format, na_rep="", max_colwidth=60))
    return 0 if found["holds"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
