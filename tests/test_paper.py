"""The ledger holds what the paper printed, and refuses what is not an entry."""

import pytest

from s2f.faces import MEASURES
from s2f.paper import load
from s2f.paths import UserError

ENTRY = """
- where: Table 2
  unit: degrees
  why_differs: another feature
  rows:
    - {key: angle, what: Angle, reported: 45.75, ours: evaluate.angle}
"""


def reported(prefix):
    return {entry.key: entry.reported for entry in load().entries if entry.key.startswith(prefix)}


def test_every_published_number_is_there():
    assert len(reported("table2.")) == 6
    assert len(reported("table3.")) == 6 * 4 + 4
    assert set(reported("fig5c.")) == {
        f"fig5c.{name}" for name in (*MEASURES, "random") if name != "philtrum_width"
    }
    assert len(reported("fig4.gender.")) == 2 and len(reported("fig4.decoder.")) == 2
    assert len(reported("fig4.age.")) == 7 and len(reported("fig4.ethnicity.")) == 4


def test_recall_grows_with_k_and_with_the_length_of_the_voice():
    table = reported("table3.")
    for metric in ("l1", "l2", "cosine"):
        short, long = (
            [table[f"table3.{seconds}s.{metric}.r{k}"] for k in (1, 2, 5, 10)] for seconds in (3, 6)
        )
        assert short == sorted(short) and long == sorted(long)
        assert all(a < b for a, b in zip(short, long, strict=True))


def test_each_number_of_ours_stands_in_one_row_only():
    ours = [entry.ours for entry in load().entries if entry.ours]
    assert len(ours) == len(set(ours))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("reported: 45.75, ", "", "0.rows.0.reported: Field required"),
        ("reported: 45.75", 'reported: "45.75"', "0.rows.0.reported"),
        ("what: Angle", "whta: Angle", "0.rows.0.what"),
        ("unit: degrees", "unit: miles", "0.unit"),
        ("why_differs: another feature", 'why_differs: ""', "0.why_differs"),
        (
            "    - {",
            "    - {key: angle, what: Again, reported: 1.0, ours: null}\n    - {",
            "'angle' stands twice",
        ),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, before, after, message):
    path = tmp_path / "paper.yaml"
    path.write_text(ENTRY)
    assert load(path).entries[0].where == "Table 2"
    path.write_text(ENTRY.replace(before, after))
    with pytest.raises(UserError, match=message):
        load(path)


def test_numbers_of_one_table_by_the_rest_of_their_key():
    assert load().reported("fig5c")["nasal_index"] == 0.38
