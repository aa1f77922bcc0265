"""A run is called a reproduction if its numbers agree as well as two trainings do, and no sabotaged one is."""

import json
import math
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from small_study import results

from s2f.report import compare, estimates
from s2f.report.compare import Run
from s2f.study.paths import Study, UserError

REFERENCES = 10
MADE = {"commit": "abc", "machine": "one core", "versions": {"numpy": "2"}, "minutes": {"train": 4.0, "audit": 1.0}}


def run(found, settings=None, made=None):
    return Run("a run", json.loads(json.dumps(found)), settings or {}, made or {})


@pytest.fixture(scope="module")
def references():
    return [run(results(training)) for training in range(REFERENCES)]


# ---- known training noise


def test_the_small_study_has_the_training_noise_of_the_null_model(references):
    """Half of the variance behind an interval on average; for some numbers much more, as in the real study."""
    tables = [estimates.numbers(run(results(100 + training)).results) for training in range(50)]
    between = {key: np.var([table[key].value for table in tables]) for key in tables[0]}
    behind = {key: np.mean([(table[key].half_width / 1.96) ** 2 for table in tables]) for key in tables[0]}
    shares = [between[key] / behind[key] for key in between if behind[key] > 0]
    assert 0.8 * compare.TRAINING < np.mean(shares) < 1.2 * compare.TRAINING
    assert max(shares) > 4 * compare.TRAINING


def test_another_training_is_a_reproduction_in_95_of_100(references):
    found = [
        compare.compare(run(results(1000 + training)), references[training % REFERENCES]) for training in range(100)
    ]
    assert sum(comparison.reproduced for comparison in found) >= 95


@pytest.mark.parametrize(
    "sabotage", [{"permuted": "faces"}, {"permuted": "groups"}, {"dropped": True}, {"pairs": 24}], ids=str
)
def test_no_sabotaged_run_is_a_reproduction(references, sabotage):
    """Labels permuted, a term of the loss dropped, half of the training pairs."""
    for training in range(25):
        broken = run(results(2000 + training, **sabotage))
        assert not compare.compare(broken, references[training % REFERENCES]).reproduced


def of_three(training, **sabotage):
    """A run whose numbers are means over three trainings."""
    first, *others = (json.loads(json.dumps(results(3 * training + index, **sabotage))) for index in range(3))
    return run(estimates.over_trainings(first | {"trainings": estimates.trainings(first, dict(enumerate(others)), 9)}))


@pytest.fixture(scope="module")
def means():
    return [of_three(training) for training in range(REFERENCES)]


def test_three_other_trainings_are_a_reproduction_in_95_of_100(means):
    """With 99 of 100 numbers inside."""
    found = [compare.compare(of_three(1000 + training), means[training % REFERENCES]) for training in range(100)]
    assert sum(comparison.reproduced for comparison in found) >= 95
    assert np.mean([comparison.share_outside for comparison in found]) < 0.01


@pytest.mark.parametrize(
    "sabotage", [{"permuted": "faces"}, {"permuted": "groups"}, {"dropped": True}, {"pairs": 24}], ids=str
)
def test_no_sabotaged_run_of_three_trainings_is_a_reproduction(means, sabotage):
    for training in range(25):
        broken = of_three(2000 + training, **sabotage)
        assert not compare.compare(broken, means[training % REFERENCES]).reproduced


def test_one_training_is_a_reproduction_of_three(means):
    found = [compare.compare(run(results(5000 + training)), means[training % REFERENCES]) for training in range(40)]
    assert sum(comparison.reproduced for comparison in found) >= 36  # 95 of 100, less two standard errors


@given(st.integers(1, 40), st.booleans())
def test_the_two_limits_keep_their_promise(number, another_sample):
    """Under the null model; independent numbers, and files whose numbers are outside together."""
    share = 1 if another_sample else compare.TRAINING
    apart = math.sqrt(2 * share) / 1.96
    inside = stats.norm.cdf(compare.tolerance(number, another_sample) / apart) * 2 - 1
    assert 1 - inside**number <= compare.FALSE_ALARM
    files = round(compare.allowed(number, another_sample) * number)
    outside = 2 * stats.norm.sf(1 / apart)
    assert stats.binom.sf(files, number, outside) <= compare.FALSE_ALARM * 1.001


def test_one_number_in_twenty_is_expected_outside():
    assert 2 * stats.norm.sf(1 / compare.spread(another_sample=False)) == pytest.approx(0.05)


# ---- what is counted


def number(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half}


def test_equal_inside_outside_and_missing_numbers_are_counted():
    before = {"a": {"w": number(0.5), "x": number(0.5), "y": number(0.5), "z": number(0.5)}, "b": {"v": number(1.0)}}
    here = {"a": {"w": number(0.5), "x": number(0.59), "y": number(0.65)}, "b": {"v": number(1.0)}, "c": number(2.0)}
    found = compare.compare(run(here), run(before))
    assert found.outside == {"a": (2, 4), "b": (0, 1)}
    assert found.missing == ["a.z.value"]
    assert [departure.key for departure in found.departures[:2]] == ["a.y.value", "a.x.value"]
    assert [departure.half_widths for departure in found.departures] == pytest.approx([1.5, 0.9, 0, 0])
    assert found.verdict.startswith("Reproduced: 3 of 5 numbers within their intervals")
    assert "2 numbers are equal to six digits" in found.details[0]


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(1, 10))
def test_a_wider_interval_of_the_reference_brings_a_number_nearer(shift, half, wider):
    """So intervals that cover trainings too are simply used."""

    def departure(width):
        before = {"a": number(1.0, width)}
        return compare.compare(run({"a": number(1.0 + shift)}), run(before)).departures[0]

    narrow, wide = departure(half), departure(half * wider)
    assert abs(wide.half_widths) <= abs(narrow.half_widths) * (1 + 1e-9)
    assert wide.inside or not narrow.inside


def test_a_headline_far_away_is_named(references):
    broken = json.loads(json.dumps(references[0].results))
    broken["retrieval"]["shares"]["recall_at_10"]["value"] = 0.9
    found = compare.compare(run(broken), references[0])
    assert not found.reproduced and found.verdict.startswith("Not reproduced: ")
    assert any(reason.startswith("recall_at_10 is 0.9 for 0.") for reason in found.reasons)


def test_a_conclusion_that_turned_round_is_named(references):
    """Where its number moved by more than training moves it; else the difference is noise, and is said to be."""
    before = json.loads(json.dumps(references[0].results))
    before["audit"]["added"]["matching_by_speech"] = {"model": -0.11, "model_low": -0.21, "model_high": -0.01}
    here = json.loads(json.dumps(before))
    here["audit"]["added"]["matching_by_speech"] = {"model": -0.05, "model_low": -0.15, "model_high": 0.05}
    found = compare.compare(run(here), run(before))
    assert found.reproduced and found.verdict.endswith("1 within the noise of training.")
    here["audit"]["added"]["matching_by_speech"] = {"model": 0.3, "model_low": 0.2, "model_high": 0.4}
    found = compare.compare(run(here), run(before))
    assert any('win fewer of their matches than others." has become' in reason for reason in found.reasons)


# ---- settings, counts, sentences, makers


@pytest.mark.parametrize(
    ("here", "reproduced"),
    [
        ({"train": {"seed": 4, "loss": "paper", "threads": 1}}, True),
        ({"train": {"seed": 3, "loss": "without_cosine", "threads": 2}}, False),
        ({"train": {"seed": 3, "loss": "paper", "threads": 2, "averaged": True}}, True),  # a setting of newer code
    ],
)
def test_settings_that_training_cannot_change_must_be_equal(references, here, reproduced):
    before = {"train": {"seed": 3, "loss": "paper", "threads": 2}, "report": {"title": "A study"}}
    found = compare.compare(run(references[0].results, here), run(references[0].results, before))
    assert found.reproduced == reproduced
    assert reproduced or found.reasons == ["The setting train.loss is 'without_cosine' for 'paper'."]


def test_counts_must_be_equal_and_other_numbers_without_an_interval_need_not(references):
    here = json.loads(json.dumps(references[0].results))
    here["data"]["links"]["jaw_width"] = 0.31
    assert compare.compare(run(here), references[0]).reproduced
    here["data"]["speakers"]["test"] = 150
    assert compare.compare(run(here), references[0]).reasons == ["The count data.speakers.test is 150 for 300."]


def test_half_of_the_training_data_is_counted_where_no_number_tells(references):
    whole, half = (
        run(references[0].results | {"train": {"training": {"clips": clips}, "last": {"loss": 0.1 * clips}}})
        for clips in (4500, 2250)
    )
    assert compare.compare(half, whole).reasons == ["The count train.training.clips is 2250 for 4500."]


def test_another_sample_of_speakers_may_differ_by_more():
    before = run({"a": number(1.0)}, {"data": {"seed": 1}})
    same, another = (compare.compare(run({"a": number(1.0)}, {"data": {"seed": seed}}), before) for seed in (1, 2))
    assert another.tolerance == pytest.approx(math.sqrt(2) * same.tolerance)


def test_sentences_that_say_another_thing_are_shown(references):
    def with_sentences(*sentences):
        return run(references[0].results | {"robustness": {"beyond": list(sentences)}})

    before = with_sentences("Noise 5 dB moves age by +5.10 [+0.75, +9.45] years.", "A codec moves tone by 2 degrees.")
    here = with_sentences("Noise 5 dB moves age by +4.80 [+0.6, +9] years.", "Level moves tone.")
    found = compare.compare(here, before)
    assert found.sentences == (["A codec moves tone by 2 degrees."], ["Level moves tone."])
    assert found.reproduced


def test_what_both_were_made_by_is_shown(references):
    here = MADE | {"machine": "two cores", "versions": {"numpy": "3"}}
    found = compare.compare(run(references[0].results, made=here), run(references[0].results, made=MADE))
    assert "Machine: two cores; of the reference: one core" in found.details
    assert "Versions: numpy 3; of the reference: numpy 2" in found.details
    assert "Minutes: 5 in 2 notebooks" in found.details


def test_notebooks_with_other_code_are_shown(references):
    before, here = (MADE | {"code": {"30_train": code, "50_audit": "a"}} for code in "ab")
    found = compare.compare(run(references[0].results, made=here), run(references[0].results, made=before))
    assert found.reproduced and "Code: differs in 30_train" in found.details


# ---- references


@pytest.fixture
def study(tmp_path, references):
    """A study whose results Git holds."""
    here = Study(tmp_path / "studies" / "one")
    here.results.mkdir(parents=True)
    here.params.write_text("train: {seed: 3, loss: paper}\n")
    write(here.results, references[0].results)
    (here.results / "metrics.json").write_text('{"recall_at_10": {"value": 1, "low": 1, "high": 1}}')
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "results"], check=True)
    return here


def write(folder, found):
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in found.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_a_study_is_compared_with_what_git_holds_of_it(study, references):
    write(study.results, references[1].results)
    study.params.write_text("train: {seed: 4, loss: paper}\n")
    found = compare.with_reference(study, "HEAD")
    assert found.reproduced and found.departures[0].half_widths != 0
    assert found.settings == [("train.seed", 3, 4)]
    assert not [departure for departure in found.departures if departure.key.startswith("metrics")]


@pytest.mark.parametrize("inner", ["", "results"])
def test_a_folder_is_a_reference_too(study, references, tmp_path, inner):
    write(tmp_path / "other" / inner, references[0].results)
    found = compare.with_reference(study, str(tmp_path / "other"))
    assert found.verdict.startswith("Reproduced: ") and not found.departures[0].half_widths


def test_the_record_of_a_run_says_with_what_settings_it_was_made(study):
    made = MADE | {"parameters": {"train": {"seed": 9, "loss": "l1"}}}
    (study.results / "run.json").write_text(json.dumps(made))
    found = compare.with_reference(study, "HEAD")
    assert found.settings == [("train.seed", 3, 9), ("train.loss", "paper", "l1")]
    assert found.made["Machine"] == ("not recorded", "one core")


@pytest.mark.parametrize("reference", ["nowhere", "--help", "HEAD~1"])
def test_a_reference_that_is_not_there_is_refused(study, reference):
    with pytest.raises(UserError, match="neither a folder nor a commit"):
        compare.with_reference(study, reference)


def test_a_folder_without_results_is_refused(study, tmp_path):
    with pytest.raises(UserError, match="holds no results with intervals"):
        compare.with_reference(study, str(tmp_path))
    assert compare.with_head(Study(tmp_path), {}, MADE | {"parameters": {}}) is None
