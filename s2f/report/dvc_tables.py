"""What DVC shows of a study: the headlines as `metrics` and tables for the `plots` of dvc.yaml."""

from pathlib import Path

import pandas as pd

from s2f.report import headlines
from s2f.report.page import lookup
from s2f.study.paths import replacing, write_json


def write(results: dict, metrics: Path, plots: Path) -> None:
    """Write the metrics, and those of the tables that the study has the numbers for.

    Args:
        results: what the stages left in results/*.json, by file name.
        metrics: the JSON file of headlines.
        plots: the folder of tables, CSV: `recall`, `age_band` and `calibration`.
    """
    write_json(headlines.metrics(results), metrics)
    plots.mkdir(parents=True, exist_ok=True)
    tables = {"recall": recall(results), "age_band": age_bands(results), "calibration": calibration(results)}
    for name, table in tables.items():
        if len(table):
            with replacing(plots / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False, float_format="%.6g")


def recall(results: dict) -> pd.DataFrame:
    """Columns `k`, `recall`, `chance`, where known `ceiling`: how often the true face is among the first k."""
    shares = lookup(results, "retrieval.shares", complete=False) or {}
    rows = [
        {"k": int(name.rpartition("_")[2]), "recall": row["value"], "chance": row["chance"]}
        | ({"ceiling": row["ceiling"]} if "ceiling" in row else {})
        for name, row in shares.items()
        if name.startswith("recall_at_")
    ]
    return pd.DataFrame(sorted(rows, key=lambda row: row["k"]))


def age_bands(results: dict) -> pd.DataFrame:
    """Columns `actual` and `drawn`, a row a recording: the true age band, and that of the face drawn from the voice."""
    shares = lookup(results, "evaluate.confusions.from_voice.age_band", complete=False) or {}
    recordings = lookup(results, "evaluate.attributes.age_band.from_voice", complete=False)
    pairs = [
        (actual, drawn)
        for actual, row in shares.items()
        for drawn, share in row.items()
        for _ in range(round((share or 0) * recordings[actual]["n"]))
    ]
    return pd.DataFrame(pairs, columns=["actual", "drawn"])


def calibration(results: dict) -> pd.DataFrame:
    """Columns `confidence` and `right`: how often the choice in a line-up is right, by how sure the score is."""
    rows = lookup(results, "lineup.calibration", complete=False) or []
    always = [row for row in rows if row["speaker_there"] == "always" and row["value"] is not None]
    return pd.DataFrame([{"confidence": row["confident"], "right": row["value"]} for row in always])
