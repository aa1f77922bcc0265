"""The report shows our number for each of the paper's, and needs nothing but itself to be read."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from s2f.report import compare
from s2f.report.compare import Run
from s2f.report.estimates import load as load_results
from s2f.report.ledger import Ledger
from s2f.report.page import CAVEAT, gaps, ledger_rows, lookup, number, printed, source, write
from s2f.study.paths import UserError

SPEAKERS = "The speakers are synthetic."
WORST = "Served worst, by group: G4."
MOVED = "Telephone 3.4 kHz moves skin tone of all speakers by -9.00 [-12.00, -6.00]."


def row(key, ours, **more):
    return {"key": key, "what": f"the {key.split('.')[1]}", "reported": 0.5, "ours": ours} | more


def group(unit, *rows, why="another <world>"):
    return {"title": f"In {unit}", "unit": unit, "why_differs": why, "rows": list(rows)}


def experiment(name, *groups, **more):
    fixed = {"notebooks": ["40_evaluate"], "functions": ["s2f.metrics.similarity.angles"], "groups": list(groups)}
    return {"id": name, "where": name.title(), "title": f"About {name}", "claim": "It works."} | fixed | more


@pytest.fixture
def ledger():
    recall = row("search.recall", "retrieval.recall.value", headline=True)
    return Ledger(
        experiments=[
            experiment(
                "angles",
                group("degrees", row("angles.angle", "evaluate.angle.mean", headline=True)),
                figures=[{"file": "evaluate/square", "caption": "Angles."}],
            ),
            experiment(
                "search",
                group("percent", recall, row("search.chance", "retrieval.recall.chance")),
                group("share", row("search.ethnicity", None, reported=0.61)),
                figures=[{"file": "evaluate/broad", "caption": "Faces of 1 speaker."}],
            ),
            experiment(
                "controls",
                group("share", row("controls.x", "evaluate.x.value", reported=None, finding="a mean face")),
                beyond=True,
            ),
            experiment("audit", beyond=True),
        ]
    )


@pytest.fixture
def results():
    def member(value, difference=None, p=None):
        row = {"value": value, "low": value - 0.1, "high": value + 0.1, "n_speakers": 40}
        return row if difference is None else row | {"difference": difference, "p_adj": p, "mdd80_adj": 0.25}

    def summed_up(gap, worst, p):
        luck = {"null_mean": 0.05, "null_p95": 0.12, "p_adj": p}
        return {"gap": luck | {"value": gap}, "worst": luck | {"value": worst}}

    def control(name, value, bound):
        beside = {"low": value - 0.04, "high": value + 0.04, "bound": bound, "n_speakers": 40, "chance": 0.5}
        return {"control": name, "metric": "auc", "value": value, "at_chance": abs(value - 0.5) < 0.04} | beside

    return {
        "evaluate": {
            "controls": [control("light", 0.5, 0.04), control("glasses", 0.55, 0.09)],
            "angle": {"mean": 50.0, "low": 49.0, "high": 51.0, "chance": 90.0, "ceiling": 40.0},
            "x": {"value": 0.25, "n_speakers": 123},
        },
        "retrieval": {"recall": {"value": 0.109, "low": 0.1, "high": 0.12, "n_speakers": 400, "chance": 0.01}},
        "audit": {
            "worst": {"sentence": WORST},
            "groups": {
                "recall": {
                    "all": {"overall": member(0.5)},
                    "sex": {"F": member(0.5, 0.02, 0.8), "M": member(0.48, -0.02, 0.8)} | summed_up(0.02, 0.48, 0.7),
                    "group": {
                        "G1": member(0.55, 0.2, 0.002),
                        "G4": member(0.35, -0.2, 0.002),
                        "G5": {"n_speakers": 4, "suppressed_reason": "fewer than 10 speakers"},
                    }
                    | summed_up(0.2, 0.35, 0.001),
                }
            },
            "planted": {"share_G4": {"truth": 0.12, "value": 0.13, "low": 0.1, "high": 0.16, "holds": True}},
        },
        "robustness": {"beyond": [MOVED]},
        "data": {
            "speakers": {"train": 1500, "test": 400, "face": 1000},
            "clips": {"train": 4500, "test": 800},
            "hours": {"train": 7.5, "test": 2.2},
            "mismatched_share": {"train": 0.06, "test": 0.23},
            "photographs": 8700,
            "links": {"face_nose_h": {"f0_hz": 0.01, "vtl_cm": 0.63}},
        },
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "figures" / "evaluate").mkdir(parents=True)
    for name, width in (("square", 8), ("broad", 1200)):
        Image.fromarray(np.zeros((8, width), np.uint8)).save(tmp_path / "figures" / "evaluate" / f"{name}.png")
    return tmp_path


def page_of(folder, ledger, results, complete=True):
    write(folder, ledger, results, "A study", SPEAKERS, complete)
    return (folder / "report.html").read_text()


def test_our_numbers_stand_in_the_unit_of_the_paper(ledger, results):
    angle, recall, chance, ethnicity, _ = ledger_rows(ledger, results)
    assert (angle.ours, angle.low, angle.ceiling) == (50.0, 49.0, 40.0)
    assert (recall.ours, recall.high, recall.chance) == pytest.approx((10.9, 12.0, 1.0))
    assert recall.n_speakers == 400
    assert (chance.ours, chance.low, chance.high) == (1.0, None, None)
    assert ethnicity.ours is None


def test_the_share_of_the_ceiling_runs_from_chance_also_where_less_is_better(ledger, results):
    angle, recall, *_ = ledger_rows(ledger, results)
    assert angle.share == pytest.approx((90 - 50) / (90 - 40))
    assert recall.share is None  # no ceiling is known


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
    assert lookup(results, key, complete=False) is None


def test_a_result_that_is_no_number_is_named(results):
    ledger = Ledger(experiments=[experiment("e", group("share", row("e.angle", "evaluate.angle")))])
    with pytest.raises(UserError, match="'evaluate.angle' of entry 'e.angle' is not a number"):
        ledger_rows(ledger, results)


def test_the_gap_that_luck_explains_least_comes_first(results):
    first, second = gaps(results["audit"]["groups"])
    assert (first["attribute"], first["last"], first["worst"], first["n_speakers"]) == ("group", "G4", 0.35, 40)
    assert second["attribute"] == "sex" and first["mdd80_adj"] == 0.25


def test_a_gap_of_something_that_is_the_same_for_everybody_is_no_finding(results):
    by_sex = results["audit"]["groups"]["recall"]["sex"]
    del by_sex["gap"]["p_adj"]
    by_sex["gap"]["value"] = 0.0
    assert [gap["p_adj"] for gap in gaps(results["audit"]["groups"])] == [0.001, 1.0]


def test_page_and_card_lead_with_what_a_bad_recording_does(folder, ledger, results):
    page = page_of(folder, ledger, results)
    assert page.index(MOVED) < page.index("<section")
    assert MOVED in (folder / "model_card.md").read_text()
    in_a_group = MOVED.replace("all speakers", "women")
    results["robustness"]["beyond"] = [MOVED, in_a_group]
    page = page_of(folder, ledger, results)
    assert page.index(MOVED) < page.index("<details>") < page.index(in_a_group) < page.index("<section")
    results["robustness"]["beyond"] = []
    assert "bad recording" not in page_of(folder, ledger, results)


def test_the_audit_leads_with_the_worst_finding(folder, ledger, results):
    page = page_of(folder, ledger, results)
    audit = page[page.index('<section id="audit">') :]
    assert audit.index(WORST) < audit.index("<table>")
    card = (folder / "model_card.md").read_text()
    assert card.index("## Audit") < card.index(f"**{WORST}**") < card.index("| recall | group |")
    assert "| G4: 0.350 (n = 40) | 0.250 |" in card
    assert "| group: G4 | 40 | 0.350 [0.250, 0.450]* |" in card and "| group: G5 | 4 | fewer than 10 speakers |" in card
    assert card.index("| all: overall |") < card.index("| group: G1 |") < card.index("| sex: F |")


def test_the_card_says_what_the_model_is_not_for(folder, ledger, results):
    page_of(folder, ledger, results)
    card = (folder / "model_card.md").read_text()
    for what in ("## Intended use", "## Out of scope", "Identifying anybody", "Phantom images", "## Limits"):
        assert what in card
    assert "| share G4 | 0.120 | 0.130 [0.100, 0.160] | yes |" in card


def test_the_data_sheet_has_the_numbers_of_the_data(folder, ledger, results):
    page_of(folder, ledger, results)
    sheet = (folder / "datasheet.md").read_text()
    parts = ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance")
    assert re.findall("^## (.*)$", sheet, re.M) == list(parts)
    assert "| training | 1,500 | 4,500 | 7.50 | 6% |" in sheet and "8,700 photographs, 3 of each person" in sheet
    assert "| faces without a voice | 1,000 | – | – | – |" in sheet
    assert "| nose_h | 0.01 | 0.63 |" in sheet and "| share G4 | 0.120 | 0.130 [0.100, 0.160] |" in sheet
    del results["data"], results["audit"]
    page_of(folder, ledger, results, complete=False)
    assert "This study has made no corpus." in (folder / "datasheet.md").read_text()
    assert "No audit has been made." in (folder / "model_card.md").read_text()


def test_published_numbers_keep_their_digits_and_ours_have_three():
    assert [printed(value) for value in (0.3, 28.92, 0.038, 148062976.0, None)] == [
        "0.30", "28.92", "0.038", "148,062,976", "–",
    ]  # fmt: skip
    assert [number(value) for value in (0.3, 28.92, 100.2, 40, 1124208, None)] == [
        "0.300", "28.9", "100", "40", "1,124,208", "–",
    ]  # fmt: skip


def test_a_section_an_experiment_in_the_order_of_the_ledger(folder, ledger, results):
    page = page_of(folder, ledger, results)
    assert re.findall('<section id="(.*?)">', page) == ["angles", "search", "controls", "audit", "made"]
    assert re.findall('<li><a href="#(.*?)"', page) == ["angles", "search", "controls", "audit", "made"]
    assert page.index(">The paper<") < page.index(">Beyond the paper<") < page.index('<section id="angles"')


def test_a_section_has_numbers_reason_figure_and_code(folder, ledger, results):
    page = page_of(folder, ledger, results)
    assert f"{CAVEAT} {SPEAKERS}" in page
    assert "80% of the way from chance (90.0) to the ceiling (40.0)" in page
    assert "<b>10.9</b> [10.0, 12.0]" in page
    assert "another &lt;world&gt;" in page and "n = 123 speakers" in page
    assert "Expected: a mean face" in page
    assert page.count("def angles(") == 4
    assert page.index("glasses") < page.index("light <span")  # of the controls, the worst comes first


def test_what_has_no_counterpart_takes_one_line_and_a_reason_is_said_once(folder, ledger, results):
    _, search, _ = page_of(folder, ledger, results).split("<section id=", 3)[1:]
    assert "Paper: the ethnicity 0.61. Not in this study." in search
    assert search.count("Why it differs") == 1  # both groups differ for the same reason


def test_the_page_loads_nothing(folder, ledger, results):
    page = page_of(folder, ledger, results)
    assert len(re.findall('src="data:image/webp;base64,', page)) == page.count("src=") == 2
    assert "http" not in page and "url(" not in page and "<script" not in page


def test_the_card_and_the_json_have_the_numbers_of_the_page(folder, ledger, results):
    write(folder, ledger, results, "A study", SPEAKERS)
    card = (folder / "model_card.md").read_text()
    assert card.startswith("---\n") and SPEAKERS in card
    assert "| In degrees: the angle (degrees) | 0.50 | 50.0 [49.0, 51.0] | 90.0 | 40.0 | 80% |" in card
    report = json.loads((folder / "report.json").read_text())
    shown = {name: report["rows"][0][name] for name in ("key", "ours", "metric", "reported", "share_of_ceiling")}
    assert list(shown.values()) == ["angles.angle", 50, "evaluate.angle.mean", 0.5, 0.8]
    assert report["headlines"] == ["angles.angle", "search.recall"]
    assert load_results(folder) == {}  # the report is no result that a report reads


def test_the_page_alone_shows_the_run_beside_the_one_in_git(folder, ledger, results):
    other = json.loads(json.dumps(results))
    other["retrieval"]["recall"]["value"] = 0.5
    compared = compare.compare(Run("this run", results, {}, {}), Run("HEAD", other, {}, {}))
    write(folder, ledger, results, "A study", SPEAKERS, compared=compared)
    page, report = (folder / "report.html").read_text(), (folder / "report.json").read_text()
    assert compared.verdict in page and "retrieval.recall.value: 0.109 for 0.5 [0.1, 0.12]" in page
    assert "half widths" in page and "half widths" not in report


def test_what_is_missing_is_an_error_in_a_complete_study(folder, ledger, results):
    (folder / "figures" / "evaluate" / "broad.png").unlink()
    with pytest.raises(UserError, match="broad.png"):
        write(folder, ledger, results, "A study", SPEAKERS)
    del results["retrieval"]
    with pytest.raises(UserError, match="retrieval.recall"):
        write(folder, ledger, results, "A study", SPEAKERS)


def test_other_studies_leave_out_rows_figures_and_experiments_and_say_once_which_and_why(folder, ledger, results):
    (folder / "figures" / "evaluate" / "broad.png").unlink()
    del results["retrieval"], results["audit"], results["evaluate"]["controls"], results["evaluate"]["x"]
    page = page_of(folder, ledger, results, complete=False)
    assert re.findall('<section id="(.*?)">', page) == ["angles", "made"]
    assert "Faces of 1 speaker" not in page and "Angles." in page and "Not in this study" not in page
    assert page.count("this study has no such stage: Search; Audit.") == 1
    assert page.count("or the number of people that they need: Controls.") == 1
    assert [row["key"] for row in json.loads((folder / "report.json").read_text())["rows"]] == ["angles.angle"]


def test_a_row_without_a_number_is_left_out_of_a_group_that_has_others(folder, ledger, results):
    del results["retrieval"]["recall"]["chance"]
    page = page_of(folder, ledger, results, complete=False)
    assert "the recall" in page and "the chance" not in page


def test_the_sheets_of_a_corpus_without_truth_do_not_speak_of_a_synthetic_world(folder, ledger, results):
    del results["data"]["links"], results["data"]["mismatched_share"], results["audit"]["planted"]
    del results["evaluate"]["controls"]
    write(folder, ledger, results, "A study", "Twelve people were recorded.", complete=False)
    for name in ("model_card.md", "datasheet.md"):
        text = (folder / name).read_text()
        assert not re.search("synthe|do not exist|planted|true by construction|invented", text), name
    assert "| training | 1,500 | 4,500 | 7.50 |" in (folder / "datasheet.md").read_text()


def test_code_is_found_without_importing_it():
    assert source("s2f.plots.style.save").startswith("def save(")
    assert source("s2f.metrics.likelihood_ratio.LikelihoodRatio").startswith("class LikelihoodRatio")
    for name, message in (
        ("s2f.nowhere.angles", "no module 's2f.nowhere'"),
        ("s2f.metrics.similarity.angels", "no 'angels'"),
    ):
        with pytest.raises(UserError, match=message):
            source(name)
