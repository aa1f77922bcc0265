"""The ledger holds what the paper published, and refuses what is not an entry."""

import pytest

from s2f.report.ledger import load
from s2f.signal.landmarks import MEASURES
from s2f.study.paths import UserError

LEDGER = """
- id: table2
  where: Table 2
  title: Similarity
  claim: It is similar.
  notebooks: [40_evaluate]
  functions: [s2f.metrics.similarity.angles]
  groups:
    - title: Angle
      unit: degrees
      why_differs: another feature
      rows:
        - {key: table2.angle, what: 6 s, reported: 45.75, ours: evaluate.angle}
"""
AGAIN = "    - {key: table2.angle, what: Again, reported: 1.0, ours: null}\n        - {"


def reported(prefix):
    return load().reported(prefix)


def test_every_published_number_is_there():
    assert len(reported("table2")) == 6
    assert len(reported("table3")) == 6 * 4 + 4
    assert set(reported("fig5c")) == {*MEASURES, "random"} | {f"drawn.{name}" for name in MEASURES}
    for arm in ("from_voice", "from_face", "face_to_voice"):
        assert len(reported(f"fig4a.gender.{arm}")) == 2
        assert len(reported(f"fig4a.age.{arm}")) + len({arm} & set(reported("fig4a.young"))) == 7
        assert len(reported(f"fig4a.ethnicity.{arm}")) == 4


def test_shares_of_the_test_sum_to_all_of_it():
    for classes in (["female", "male"], [f"age.{age}" for age in range(10, 90, 10)]):
        assert sum(reported("fig4b")[name] for name in classes) == pytest.approx(100, abs=0.03)
    assert sum(reported("fig4b.ethnicity").values()) == pytest.approx(100, abs=0.03)


def test_recall_grows_with_k_and_with_the_length_of_the_voice():
    table = reported("table3")
    for metric in ("l1", "l2", "cosine"):
        short, long = ([table[f"{seconds}s.{metric}.r{k}"] for k in (1, 2, 5, 10)] for seconds in (3, 6))
        assert short == sorted(short) and long == sorted(long)
        assert all(a < b for a, b in zip(short, long, strict=True))


def test_each_number_of_ours_stands_in_one_row_only():
    ours = [entry.ours for entry in load().entries if entry.ours]
    assert sorted(ours) == sorted(set(ours))


def test_what_has_no_number_has_a_finding_in_words():
    entries = [entry for entry in load().entries if entry.reported is None]
    assert entries and all(entry.finding for entry in entries)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("reported: 45.75, ", "", "0.groups.0: .*'table2.angle' has neither a reported number nor a finding"),
        ("reported: 45.75", 'reported: "45.75"', "0.groups.0.rows.0.reported"),
        ("what: 6 s", "whta: 6 s", "0.groups.0.rows.0.what"),
        ("unit: degrees", "unit: miles", "0.groups.0.unit"),
        ("why_differs: another feature", 'why_differs: ""', "0.groups.0.why_differs"),
        ("[40_evaluate]", "[]", "0.notebooks"),
        ("key: table2.angle", "key: fig2.angle", "'fig2.angle' does not begin with 'table2.'"),
        ("    - {", AGAIN, "'table2.angle' stands twice"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, before, after, message):
    path = tmp_path / "ledger.yaml"
    path.write_text(LEDGER)
    assert load(path).entries[0].where == "Table 2"
    path.write_text(LEDGER.replace(before, after))
    with pytest.raises(UserError, match=message):
        load(path)


def test_numbers_of_one_table_by_the_rest_of_their_key():
    assert reported("fig5c")["nasal_index"] == 0.38
    assert "within.nasal_index" not in reported("fig5c")  # a finding, no number


def test_what_holds_in_the_synthetic_world_is_said_of_no_other_corpus(tmp_path):
    path = tmp_path / "ledger.yaml"
    path.write_text(LEDGER.replace("another feature", "another feature.\n      in_synthetic_world: Links are known."))
    for synthetic, reasons in ((True, "another feature. Links are known."), (False, "another feature.")):
        (entry,) = load(path).explained(synthetic).entries
        assert entry.why_differs == reasons


def test_a_synthetic_world_lacks_the_experiments_with_real_people(tmp_path):
    path = tmp_path / "ledger.yaml"
    path.write_text(LEDGER.replace("claim:", "real_people: true\n  claim:"))
    assert load(path).explained(synthetic=True).entries == [] and load(path).explained(synthetic=False).entries


def test_no_reason_of_the_ledger_is_about_the_synthetic_world_for_other_corpora():
    for entry in load().explained(synthetic=False).entries:
        assert "synthetic" not in entry.why_differs or "null_world" in entry.key, entry.key
