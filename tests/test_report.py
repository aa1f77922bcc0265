"""The report shows our number for each of the paper's, and needs nothing but itself to be read."""

import json
import re

import numpy as np
import pytest

from s2f import paper
from s2f.paths import UserError
from s2f.plots import style
from s2f.plots.pictures import gallery
from s2f.report import CAVEAT, Picture, findings, ledger_rows, load_results, lookup, write


def entry(key, ours, unit="share", headline=False):
    return {
        "where": "Table 0",
        "unit": unit,
        "why_differs": "another <world>",
        "rows": [{"key": key, "what": f"What {key} is", "reported": 0.5, "ours": ours, "headline": headline}],
    }


@pytest.fixture
def ledger():
    return paper.Ledger(
        groups=[
            entry("angle", "evaluate.angle.mean", "degrees", headline=True),
            entry("recall", "retrieval.recall.value", "percent", headline=True),
            entry("chance", "retrieval.recall.chance", "percent"),
            entry("ethnicity", None),
        ]
    )


@pytest.fixture
def results():
    def group(attribute, name, estimate, **more):
        numbers = {
            "difference": None,
            "ci_lo": None,
            "ci_hi": None,
            "p_raw": None,
            "null_mean": None,
            "null_p95": None,
        }
        return (
            {
                "attribute": attribute,
                "group": name,
                "metric": "recall",
                "n_speakers": 40,
                "estimate": estimate,
            }
            | numbers
            | more
        )

    def gap(attribute, estimate, p):
        return group(attribute, "gap", estimate, p_raw=p, null_mean=0.05, null_p95=0.12)

    def control(name, value, bound):
        beside = {"low": value - 0.04, "high": value + 0.04, "bound": bound, "n_speakers": 40, "chance": 0.5}
        return {
            "control": name,
            "metric": "auc",
            "value": value,
            "at_chance": abs(value - 0.5) < 0.04,
        } | beside

    return {
        "evaluate": {
            "controls": [control("light", 0.5, 0.04), control("glasses", 0.55, 0.09)],
            "angle": {"mean": 50.0, "low": 49.0, "high": 51.0, "chance": 90.0, "ceiling": 40.0},
        },
        "retrieval": {"recall": {"value": 0.109, "low": 0.1, "high": 0.12, "n_speakers": 400, "chance": 0.01}},
        "audit": {
            "groups": [
                group("all", "overall", 0.5),
                gap("sex", 0.06, 0.4),
                group("sex", "F", 0.5, difference=0.02),
                group("sex", "M", 0.48, difference=-0.02),
                gap("group", 0.2, 0.001),
                group("group", "G1", 0.55, difference=0.08),
                group("group", "G4", 0.35, difference=-0.2),
                group("group", "G5", None, suppressed_reason="fewer than 10 speakers"),
            ],
        },
    }


@pytest.fixture
def pictures(tmp_path):
    style.use()
    faces = np.zeros((1, 8, 8, 3), np.uint8)
    for name in ("gallery_test", "other"):
        style.save(gallery({"true": faces}, ["F 30"]), tmp_path / f"{name}.png")
    return [
        Picture(tmp_path / "other.png", "Recall, n = 400 speakers.", "60_retrieval"),
        Picture(tmp_path / "gallery_test.png", "Faces of 1 speaker.", "40_evaluate"),
    ]


def test_our_numbers_stand_in_the_unit_of_the_paper(ledger, results):
    angle, recall, chance, ethnicity = ledger_rows(ledger, results)
    assert (angle.ours, angle.low, angle.ceiling) == (50.0, 49.0, 40.0)
    assert (recall.ours, recall.high, recall.chance) == pytest.approx((10.9, 12.0, 1.0))
    assert recall.n_speakers == 400
    assert (chance.ours, chance.low, chance.high) == (1.0, None, None)
    assert ethnicity.ours is None


def test_the_share_of_the_ceiling_runs_from_chance_also_where_less_is_better(ledger, results):
    angle, recall, *_ = ledger_rows(ledger, results)
    assert angle.share_of_ceiling == pytest.approx((90 - 50) / (90 - 40))
    assert recall.share_of_ceiling is None  # no ceiling is known


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("evaluate.angle.median", "'evaluate.angle.median': evaluate.angle has no 'median'"),
        ("consistency.angle", "'consistency.angle': results/ has no 'consistency'"),
        ("evaluate.angle.mean.x", "evaluate.angle.mean has no 'x'"),
    ],
)
def test_a_missing_result_is_named(results, key, message):
    with pytest.raises(UserError, match=re.escape(message)):
        lookup(results, key)


def test_a_result_that_is_no_number_is_named(results):
    ledger = paper.Ledger(groups=[entry("angle", "evaluate.angle")])
    with pytest.raises(UserError, match="'evaluate.angle' of entry 'angle' is not a number"):
        ledger_rows(ledger, results)


def test_the_finding_that_luck_explains_least_comes_first(results):
    first, second = findings(results["audit"]["groups"])
    assert (first["attribute"], first["furthest"]["group"]) == ("group", "G4")
    assert second["attribute"] == "sex"


def test_the_page_holds_all_there_is_and_loads_nothing(tmp_path, ledger, results, pictures):
    write(tmp_path, ledger, results, pictures, "A study")
    page = (tmp_path / "report.html").read_text()
    assert CAVEAT.split(".")[0] in page
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert [title.split()[0] for title in titles] == [
        "Headline",
        "Gallery",
        "The",
        "Figures",
        "Audit:",
        "Negative",
        "How",
    ]
    assert "80% of the way from chance (90) to the ceiling (40)" in page
    assert "10.9 [10, 12]" in page
    assert page.index("Faces of 1 speaker") < page.index("Recall, n = 400 speakers")
    assert page.index("glasses") < page.index(">light<")
    assert "another &lt;world&gt;" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert len(sources) == 2 and all(source.startswith("data:image/png") for source in sources)
    assert "http" not in page and "url(" not in page


def test_the_card_and_the_json_have_the_numbers_of_the_page(tmp_path, ledger, results, pictures):
    write(tmp_path, ledger, results, pictures, "A study")
    card = (tmp_path / "model_card.md").read_text()
    assert card.startswith("---\n") and "| What angle is (degrees) | 0.5 | 50 [49, 51] | 90 | 40 | 80% |" in card
    report = json.loads((tmp_path / "report.json").read_text())
    angle = report["rows"][0]
    assert (angle["key"], angle["ours"], angle["reported"], angle["share_of_ceiling"]) == (
        "angle",
        50,
        0.5,
        0.8,
    )
    assert report["headlines"] == ["angle", "recall"]
    assert load_results(tmp_path) == {}  # the report is no result that a report reads


def test_the_same_results_give_the_same_bytes(tmp_path, ledger, results, pictures):
    turns = [tmp_path / "a", tmp_path / "b"]
    for folder in turns:
        write(folder, ledger, results, pictures, "A study")
    for name in ("report.json", "report.html", "model_card.md"):
        assert (turns[0] / name).read_bytes() == (turns[1] / name).read_bytes()


def test_a_figure_that_is_not_there_is_named(tmp_path, ledger, results):
    with pytest.raises(UserError, match="missing.png"):
        write(tmp_path, ledger, results, [Picture(tmp_path / "missing.png", "x", "40_evaluate")], "A study")
