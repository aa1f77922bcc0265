"""Numbers, headlines and conclusions are read from the results alone, and so are the tables that DVC plots."""

import json

import pandas as pd
import pytest
from repository import ROOT

from s2f.report import dvc_tables, estimates, headlines
from s2f.report.estimates import Number, numbers
from s2f.report.headlines import conclusions


def test_every_number_with_an_interval_is_found():
    results = {
        "a": {
            "x": {"value": 0.5, "low": 0.4, "high": 0.6, "chance": 0.1, "n_speakers": 9},
            "y": [{"r": 0.3, "low": 0.2, "high": 0.4, "difference": -1, "difference_low": -2, "difference_high": 0}],
            "without an interval": {"value": 3.0, "low": None, "high": None},
            "of something else": {"low": 1, "high": 2, "basis": "words"},
        },
        "audit": {"worst": {"value": 0.5, "low": 0.4, "high": 0.6}},  # another group in each run
    }
    assert numbers(results) == {
        "a.x.value": Number(0.5, 0.4, 0.6, 0.1),
        "a.y.0.r": Number(0.3, 0.2, 0.4),
        "a.y.0.difference": Number(-1, -2, 0),
    }


def test_a_conclusion_says_on_which_side_of_the_boundary_the_interval_lies():
    def sentence(value, chance):
        row = {"value": value, "low": value - 0.1, "high": value + 0.1, "chance": chance}
        (conclusion,) = conclusions({"retrieval": {"shares": {"recall_at_10": row}}})
        return conclusion.sentence

    assert sentence(0.5, 0.1) == "The true face is among the first 10 more often than by chance."
    assert sentence(0.5, 0.45) == "The true face is among the first 10 no more often than by chance."
    assert sentence(0.5, 0.9) == "The true face is among the first 10 less often than by chance."


@pytest.fixture
def audit():
    group = {"value": 20.0, "low": 19.0, "high": 21.0, "difference": 11.0, "p_adj": 0.001, "n_speakers": 94}
    worst = {"metric": "years missed", "attribute": "age_band", "group": "65-80", "better": "lower"}
    return {"groups": {"years missed": {"age_band": {"65-80": group}}}, "worst": worst}


@pytest.mark.parametrize(
    ("change", "found"),
    [({}, "worse than"), ({"p_adj": 0.2}, "as well as"), ({"difference": -11.0}, "better than")],
)
def test_whether_a_group_is_served_worse_is_asked_of_any_run(audit, change, found):
    """The group is that of the reference, also where this run finds another one worst."""
    worst = audit["worst"]
    audit["groups"]["years missed"]["age_band"]["65-80"] |= change
    (conclusion,) = conclusions({"audit": {"groups": audit["groups"]}}, worst)
    assert conclusion.sentence == f"Speakers of age band 65-80 are served {found} the others: years missed."


def test_the_default_study_has_a_dozen_headlines_and_every_claim():
    results = estimates.load(ROOT / "results")
    found = headlines.metrics(results)
    assert len(found) == 12
    assert all(row["low"] <= row["value"] <= row["high"] for row in found.values())
    published = estimates.load(ROOT / "studies" / "published" / "results")
    known = numbers(results) | numbers(published)
    assert {claim.key for claim in headlines.CLAIMS} <= set(known)
    assert set(headlines.HEADLINES.values()) <= set(known)
    assert len(conclusions(results)) > len(found)


def test_what_dvc_plots_is_what_the_results_say(tmp_path):
    results = estimates.load(ROOT / "results")
    dvc_tables.write(results, tmp_path / "metrics.json", tmp_path / "plots")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written.keys() == headlines.metrics(results).keys()
    for name, row in headlines.metrics(results).items():
        assert written[name] == pytest.approx(row, rel=1e-5)  # six digits

    recall, bands, calibration = (
        pd.read_csv(tmp_path / "plots" / f"{name}.csv") for name in ("recall", "age_band", "calibration")
    )
    shares = results["retrieval"]["shares"]
    shown = {k: shares[f"recall_at_{k}"]["value"] for k in (1, 2, 5, 10)}
    assert recall.set_index("k")["recall"].to_dict() == pytest.approx(shown, rel=1e-5)
    counted = bands.groupby("actual")["drawn"].value_counts(normalize=True)
    for actual, row in results["evaluate"]["confusions"]["from_voice"]["age_band"].items():
        whole = 1 / (bands["actual"] == actual).sum()  # a mean over trainings is shown as so many clips
        assert {drawn: counted.get((actual, drawn), 0) for drawn in row} == pytest.approx(row, abs=whole)
    assert len(calibration) and calibration["confidence"].is_monotonic_increasing


def test_a_study_without_a_stage_has_no_table_of_it(tmp_path):
    dvc_tables.write({}, tmp_path / "metrics.json", tmp_path / "plots")
    assert (tmp_path / "plots").is_dir() and not list((tmp_path / "plots").iterdir())
    assert (tmp_path / "metrics.json").read_text() == "{}\n"
