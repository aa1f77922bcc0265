"""The report: every number of the paper beside ours, as JSON, as one page of HTML and as a model card.

`results` is what the stages left in results/*.json, by file name. Beside a number stand, where known, its
`low`, `high`, `n_speakers`, `chance` and `ceiling`. The audit gives two lists of rows: `audit.groups`, from
`audit.disaggregate`, and `evaluate.controls`, from `evaluate.negative_controls`.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment

from s2f.paper import Entry, Ledger
from s2f.paths import UserError, replacing, write_json

CAVEAT = (
    "What is drawn here is an average face with traits that go with such voices. It is not the face of the "
    "person who speaks, and nobody can be identified with it: an estimate, however good it usually is, must "
    "never be taken for the truth. The speakers are synthetic; nothing here says how much voices tell about "
    "real people."
)
MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
CONTEXT = ("low", "high", "n_speakers", "chance", "ceiling")


class Picture(NamedTuple):
    """A figure of the report; those whose file name begins with `gallery` show faces."""

    path: Path
    caption: str  # says n and what the interval is
    notebook: str  # which made it, such as 40_evaluate


@dataclass(frozen=True)
class Row:
    """A published number and ours, in the unit of the paper; None: not known, or no counterpart."""

    entry: Entry
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    n_speakers: int | None = None
    chance: float | None = None
    ceiling: float | None = None

    @property
    def share_of_ceiling(self) -> float | None:
        """0 at chance, 1 at the best that any system could reach."""
        if None in (self.ours, self.chance, self.ceiling) or self.chance == self.ceiling:
            return None
        return (self.ours - self.chance) / (self.ceiling - self.chance)

    def record(self) -> dict:
        """Flat, for report.json: `ours` is our number here, `metric` the key that leads to it."""
        entry = self.entry.model_dump()
        numbers = {name: getattr(self, name) for name in ("ours", *CONTEXT, "share_of_ceiling")}
        return entry | {"metric": entry["ours"]} | numbers


def load_results(folder: Path) -> dict:
    """All results/*.json but the report itself, by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
        if path.stem != "report"
    }


def lookup(results: dict, key: str):
    """What a dotted key leads to. UserError names the key, and where its path ends."""
    value, parts = results, key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(value, dict) or part not in value:
            place = ".".join(parts[:depth]) or "results/"
            raise UserError(f"No result {key!r}: {place} has no {part!r}; run its stage, or mend the key.")
        value = value[part]
    return value


def ledger_rows(ledger: Ledger, results: dict) -> list[Row]:
    """Each published number with ours, in the unit of the paper."""
    return [_row(entry, results) for entry in ledger.entries]


def _row(entry: Entry, results: dict) -> Row:
    if entry.ours is None:
        return Row(entry)
    parent, _, leaf = entry.ours.rpartition(".")
    value, beside = lookup(results, entry.ours), lookup(results, parent)
    if value is not None and not isinstance(value, int | float):
        raise UserError(f"The result {entry.ours!r} of entry {entry.key!r} is not a number; mend the key.")
    # Beside a chance level stands the interval of the estimate, which is not its own.
    known = {} if leaf in CONTEXT else {name: beside[name] for name in CONTEXT if name in beside}
    scale = 100 if entry.unit == "percent" else 1
    scaled = {
        name: number if number is None or name == "n_speakers" else number * scale
        for name, number in (known | {"ours": value}).items()
    }
    return Row(entry, **scaled)


def findings(groups: Sequence[dict]) -> list[dict]:
    """Gaps between groups, the one that luck explains least first, each with the group that differs most."""
    found = []
    for gap in (row for row in groups if row["group"] == "gap"):
        members = [
            row
            for row in groups
            if (row["attribute"], row["metric"]) == (gap["attribute"], gap["metric"])
            and row["difference"] is not None
        ]
        found.append(gap | {"furthest": max(members, key=lambda row: abs(row["difference"]))})
    return sorted(found, key=lambda gap: (gap["p_raw"], gap["null_mean"] - gap["estimate"]))


def write(folder: Path, ledger: Ledger, results: dict, pictures: Sequence[Picture], title: str) -> None:
    """Write report.json, report.html and model_card.md into `folder`."""
    rows = ledger_rows(ledger, results)
    content = {
        "title": title,
        "caveat": CAVEAT,
        "rows": rows,
        "headlines": [row for row in rows if row.entry.headline],
        "findings": findings(lookup(results, "audit.groups")),
        "controls": sorted(lookup(results, "evaluate.controls"), key=lambda row: -row["bound"]),
    }
    write_json(
        content
        | {
            "rows": [row.record() for row in rows],
            "headlines": [row.entry.key for row in content["headlines"]],
            "figures": [
                {"file": p.path.name, "caption": p.caption, "notebook": p.notebook} for p in pictures
            ],
        },
        folder / "report.json",
    )
    shown = [picture._asdict() | {"uri": _data_uri(picture.path)} for picture in pictures]
    gallery = [picture for picture in shown if picture["path"].name.startswith("gallery")]
    figures = [picture for picture in shown if picture not in gallery]
    page = _environment(html=True).from_string(PAGE).render(content, gallery=gallery, figures=figures)
    for name, text in (("report.html", page), ("model_card.md", model_card(content))):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def model_card(content: dict) -> str:
    """The model card, with the same numbers as the page."""
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
        language=[],
        license="apache-2.0",
        tags=["speech2face", "synthetic-data", "bias-audit"],
        model_name=content["title"],
        eval_results=[
            EvalResult(
                task_type="voice-to-face",
                dataset_type="synthetic",
                dataset_name="s2f synthetic world",
                metric_type=row.entry.key,
                metric_name=row.entry.what,
                metric_value=float(number(row.ours)),
            )
            for row in content["headlines"]
            if row.ours is not None
        ],
    )
    text = _environment(html=False).from_string(CARD).render(content)
    return f"---\n{data.to_yaml()}\n---\n{text}"


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None else f"[{number(low)}, {number(high)}]"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _data_uri(path: Path) -> str:
    if path.suffix not in MEDIA_TYPES or not path.is_file():
        raise UserError(f"The figure {path} is not there as PNG or SVG; run the notebook that makes it.")
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _environment(html: bool) -> Environment:
    environment = Environment(
        autoescape=html, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": number, "percent": percent}
    environment.globals["interval"] = interval
    return environment


# ---- templates

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccd; }
.caveat { border-left: .4rem solid #c4512d; background: #fdf3ef; padding: .6rem 1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
.card { border: 1px solid #ccd; border-radius: .5rem; padding: .8rem 1rem; break-inside: avoid; }
.card b { font-size: 1.7rem; } .quiet { color: #57606a; font-size: .88rem; }
meter { width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #dde; }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; break-inside: avoid; } figure img { max-width: 100%; height: auto; }
figcaption { color: #57606a; font-size: .9rem; max-width: 48rem; }
code { background: #f2f3f5; padding: 0 .25rem; overflow-wrap: anywhere; } pre { background: #f2f3f5; padding: .8rem; overflow-x: auto; }
@media (max-width: 44rem) {  /* a table becomes one block a row, each cell named */
  thead { display: none; } tr { display: block; border-bottom: 2px solid #ccd; padding: .4rem 0; }
  td { display: grid; grid-template-columns: 7.5rem 1fr; border: 0; padding: .1rem 0; } td.n { white-space: normal; }
  td::before { content: attr(data-name); color: #57606a; }
}
@media print { body { max-width: none; font-size: 10pt; } a { color: inherit; } tr { break-inside: avoid; } }
</style>
</head>
<body>
{% macro figure(picture) %}
<figure><img src="{{ picture.uri }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }} Made by <code>notebooks/{{ picture.notebook }}.ipynb</code>.</figcaption></figure>
{% endmacro %}
<h1>{{ title }}</h1>
<p class="caveat">{{ caveat }}</p>

<h2>Headline numbers</h2>
<div class="cards">
{% for row in headlines %}
<div class="card">{{ row.entry.what }}<br>
<b>{{ row.ours | number }}</b> {{ interval(row.low, row.high) }} <span class="quiet">{{ row.entry.unit }}</span>
{% if row.share_of_ceiling is not none %}
<meter min="0" max="1" value="{{ row.share_of_ceiling }}">{{ row.share_of_ceiling | percent }}</meter>
<div class="quiet">{{ row.share_of_ceiling | percent }} of the way from chance ({{ row.chance | number }}) to the ceiling ({{ row.ceiling | number }})</div>
{% endif %}
<div class="quiet">Paper: {{ row.entry.reported | number }} ({{ row.entry.where }}){% if row.n_speakers %}; n = {{ row.n_speakers }} speakers{% endif %}</div></div>
{% endfor %}
</div>
<p class="quiet">In brackets 95 % intervals over speakers. The ceiling is the best that any system could reach, computed from the known truth of the synthetic world.</p>

<h2>Gallery</h2>
<p>Average faces with correlated traits, not portraits of the speakers.</p>
{% for picture in gallery %}{{ figure(picture) }}{% endfor %}

<h2>The paper's numbers and ours</h2>
<table>
<thead><tr><th>What</th><th>Where</th><th>Unit</th><th>Paper</th><th>Ours [95 %]</th><th>Chance</th><th>Ceiling</th><th>Why it differs</th></tr></thead>
<tbody>
{% for row in rows %}
<tr id="{{ row.entry.key }}"><td data-name="What">{{ row.entry.what }}</td><td data-name="Where">{{ row.entry.where }}</td><td data-name="Unit">{{ row.entry.unit }}</td>
<td class="n" data-name="Paper">{{ row.entry.reported | number }}{% if row.entry.std %} ± {{ row.entry.std | number }}{% endif %}</td>
<td class="n" data-name="Ours [95 %]">{{ row.ours | number }} {{ interval(row.low, row.high) }}</td>
<td class="n" data-name="Chance">{{ row.chance | number }}</td><td class="n" data-name="Ceiling">{{ row.ceiling | number }}</td>
<td data-name="Why it differs">{% if loop.first or row.entry.why_differs != loop.previtem.entry.why_differs %}{{ row.entry.why_differs }}{% else %}as above{% endif %}</td></tr>
{% endfor %}
</tbody></table>

<h2>Figures</h2>
{% for picture in figures %}{{ figure(picture) }}{% endfor %}

<h2>Audit: differences between groups</h2>
<p>The gap that luck explains least comes first. A gap says that the model serves these groups of speakers differently, not why; that none is found does not show that there is none.</p>
<table>
<thead><tr><th>Attribute</th><th>Metric</th><th>Largest gap</th><th>By luck: mean, 95 %</th><th>p</th><th>Group that differs most</th><th>Speakers</th></tr></thead>
<tbody>
{% for gap in findings %}
<tr><td data-name="Attribute">{{ gap.attribute }}</td><td data-name="Metric">{{ gap.metric }}</td><td class="n" data-name="Largest gap">{{ gap.estimate | number }}</td>
<td class="n" data-name="By luck">{{ gap.null_mean | number }}, {{ gap.null_p95 | number }}</td><td class="n" data-name="p">{{ gap.p_raw | number }}</td>
<td data-name="Differs most">{{ gap.furthest.group }}: {{ gap.furthest.estimate | number }} {{ interval(gap.furthest.ci_lo, gap.furthest.ci_hi) }}, n = {{ gap.furthest.n_speakers }}</td><td class="n" data-name="Speakers">{{ gap.n_speakers }}</td></tr>
{% endfor %}
</tbody></table>

<h2>Negative controls</h2>
<p>No voice carries these, so a probe on the predicted features must find nothing. Intervals hold together at 95 %; the control that could lie furthest from chance comes first.</p>
<table>
<thead><tr><th>Control</th><th>Metric</th><th>Value [95 %]</th><th>Chance</th><th>At chance</th><th>Speakers</th></tr></thead>
<tbody>
{% for row in controls %}
<tr><td data-name="Control">{{ row.control }}</td><td data-name="Metric">{{ row.metric }}</td><td class="n" data-name="Value [95 %]">{{ row.value | number }} {{ interval(row.low, row.high) }}</td>
<td class="n" data-name="Chance">{{ row.chance | number }}</td><td data-name="At chance">{{ "yes" if row.at_chance else "no" }}</td><td class="n" data-name="Speakers">{{ row.n_speakers }}</td></tr>
{% endfor %}
</tbody></table>

<h2>How to make this again</h2>
<pre>dvc repro</pre>
<p>runs the notebooks whose code, data or parameters changed; <code>dvc repro --force</code> runs all. Their executed copies are in <code>build/run/</code>.</p>
</body>
</html>
"""  # noqa: E501

CARD = """
# {{ title }}

{{ caveat }}

## Model

A voice encoder after Speech2Face (Oh et al., CVPR 2019) predicts the feature of a face from up to 6 s of speech, and a
decoder draws a face, frontal and evenly lit, from that feature. It was trained on synthetic speakers only.

## Use

- Meant for: research on what a voice tells about a face, on bias audits, and on reproducing the paper.
- Not meant for: identifying or describing any real person, or deciding anything about one.

## Results

| what | paper | ours [95 %] | chance | ceiling | share of the ceiling |
|---|---|---|---|---|---|
{% for row in headlines %}
| {{ row.entry.what }} ({{ row.entry.unit }}) | {{ row.entry.reported | number }} | {{ row.ours | number }} {{ interval(row.low, row.high) }} | {{ row.chance | number }} | {{ row.ceiling | number }} | {{ row.share_of_ceiling | percent }} |
{% endfor %}

## Differences between groups

| attribute | metric | gap | by luck (95 %) | p | differs most |
|---|---|---|---|---|---|
{% for gap in findings %}
| {{ gap.attribute }} | {{ gap.metric }} | {{ gap.estimate | number }} | {{ gap.null_p95 | number }} | {{ gap.p_raw | number }} | {{ gap.furthest.group }} (n = {{ gap.furthest.n_speakers }}) |
{% endfor %}

## Negative controls

| control | metric | value [95 %] | chance | at chance |
|---|---|---|---|---|
{% for row in controls %}
| {{ row.control }} | {{ row.metric }} | {{ row.value | number }} {{ interval(row.low, row.high) }} | {{ row.chance | number }} | {{ "yes" if row.at_chance else "no" }} |
{% endfor %}
"""  # noqa: E501
