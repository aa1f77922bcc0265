"""The report: each experiment of the paper with our numbers and figures, as one page, as JSON and as a model card.

`results` is what the stages left in results/*.json, by file name. Beside a number stand, where known, its `low`,
`high`, `n_speakers`, `chance` and `ceiling`. What the page looks like is in page.html.j2 and page.css.
"""

import ast
import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from s2f.report import estimates
from s2f.report.compare import Comparison
from s2f.report.headlines import conclusions
from s2f.report.ledger import Entry, Experiment, Group, Ledger
from s2f.study import pages, provenance
from s2f.study.paths import UserError, replacing, write_json

CAVEAT = (
    "What is drawn here is an average face with traits that go with such voices. It is not the face of the person who "
    "speaks, and nobody can be identified with it: an estimate, however good it usually is, must never be taken for "
    "the truth."
)
Number = int | float | None

CONTEXT = ("low", "high", "n_speakers", "chance", "ceiling")
ESTIMATES = ("mean", "r", "slope", "value")  # names of numbers whose own interval, chance and ceiling stand beside them
CORPUS = "10_"  # how the notebook that makes the corpus begins; each study has its own


@dataclass(frozen=True)
class Row:
    """A row of the ledger and our number for it, in the unit of the paper; None: not known, or no counterpart."""

    entry: Entry
    ours: Number = None
    low: Number = None
    high: Number = None
    n_speakers: Number = None
    chance: Number = None
    ceiling: Number = None

    @property
    def share(self) -> Number:
        """0 at chance, 1 at the best that any system could reach."""
        if None in (self.ours, self.chance, self.ceiling) or self.chance == self.ceiling:
            return None
        return (self.ours - self.chance) / (self.ceiling - self.chance)

    def record(self) -> dict:
        """Flat, for report.json: `ours` is our number here, `metric` the key that leads to it."""
        entry = self.entry.model_dump()
        numbers = {name: getattr(self, name) for name in ("ours", *CONTEXT)}
        return entry | {"metric": entry["ours"]} | numbers | {"share_of_ceiling": self.share}


class Picture(NamedTuple):
    """A figure as the page shows it: within the page, and with its size, so that the page does not jump."""

    caption: str
    uri: str
    width: int
    height: int
    full: str  # link to the file, as seen from the page


class Table(NamedTuple):
    """A group of the ledger with its rows."""

    group: Group
    rows: list[Row]

    @property
    def empty(self) -> bool:
        """Whether the study has no counterpart of any row."""
        return all(row.ours is None for row in self.rows)


class Section(NamedTuple):
    """An experiment as the page shows it."""

    experiment: Experiment
    tables: list[Table]
    pictures: list[Picture]
    sources: dict[str, str]  # of the library functions, by name
    pages: dict[str, list[str]]  # of the notebooks that made it, by name: the executed pages

    @property
    def columns(self) -> set[str]:
        """Which columns hold anything in this experiment."""
        rows = [row for table in self.tables for row in table.rows]
        names = {name for name in ("chance", "ceiling", "share") for row in rows if getattr(row, name) is not None}
        return names | ({"reported"} if any(row.entry.reported is not None for row in rows) else set())

    @property
    def speakers(self) -> list[int]:
        """The numbers of speakers behind its rows."""
        return sorted({int(row.n_speakers) for table in self.tables for row in table.rows if row.n_speakers})


def lookup(results: dict, key: str, complete: bool = True):
    """What a dotted key leads to.

    Where it leads nowhere: UserError with the key and where its path ends; None if the study is not `complete`.
    """
    value, parts = results, key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(value, dict) or part not in value:
            if not complete:
                return None
            place = ".".join(parts[:depth]) or "results/"
            raise UserError(f"No result {key!r}: {place} has no {part!r}; run its stage, or mend the key.")
        value = value[part]
    return value


def synthetic(results: dict) -> bool:
    """Whether the corpus is a synthetic world: only of such a one are the links between voice and face known."""
    return "links" in results.get("data", {})


class Covered(NamedTuple):
    """What a study can show of a ledger."""

    ledger: Ledger
    left_out: list[str]  # a sentence for each reason to leave experiments out


def covered(ledger: Ledger, results: dict, figures: Path, complete: bool = True) -> Covered:
    """The ledger without what a study has no numbers and figures of.

    Args:
        ledger: all experiments.
        results: what the stages left, by file name.
        figures: the folder results/figures.
        complete: whether the study must have everything; then nothing is left out, and what is missing is an error
            where it is used.
    """
    ledger = ledger.explained(synthetic(results))
    if complete:
        return Covered(ledger, [])
    kept, no_stage, no_label = [], [], []
    for experiment in ledger.experiments:
        groups = []
        for group in experiment.groups:
            rows = [row for row in group.rows if row.ours and lookup(results, row.ours, complete=False) is not None]
            if rows:
                groups.append(group.model_copy(update={"rows": rows}))
        pictures = [figure for figure in experiment.figures if (figures / f"{figure.file}.png").exists()]
        if groups or pictures:
            kept.append(experiment.model_copy(update={"groups": groups, "figures": pictures}))
        elif experiment.stages & set(results):
            no_label.append(experiment.where)
        else:
            no_stage.append(experiment.where)
    sentences = {
        "Left out, because this study has no such stage": no_stage,
        "Left out, because this corpus lacks the truth, the labels or the number of people that they need": no_label,
    }
    return Covered(Ledger(experiments=kept), [f"{why}: {'; '.join(who)}." for why, who in sentences.items() if who])


def ledger_rows(ledger: Ledger, results: dict) -> list[Row]:
    """Each row of the ledger with our number, in the unit of the paper; UserError for a result that is missing."""
    return [_row(entry, results) for entry in ledger.entries]


def _row(entry: Entry, results: dict) -> Row:
    if entry.ours is None or (value := lookup(results, entry.ours)) is None:
        return Row(entry)
    if not isinstance(value, int | float):
        raise UserError(f"The result {entry.ours!r} of entry {entry.key!r} is not a number; mend the key.")
    parent, _, leaf = entry.ours.rpartition(".")
    beside = lookup(results, parent)
    known = {name: beside[name] for name in CONTEXT if name in beside} if leaf in ESTIMATES else {}
    scale = 100 if entry.unit == "percent" else 1
    scaled = {
        name: number if number is None or name == "n_speakers" else number * scale
        for name, number in (known | {"ours": value}).items()
    }
    return Row(entry, **scaled)


def sections(ledger: Ledger, rows: Sequence[Row], folder: Path, executed: Mapping[str, list[str]]) -> list[Section]:
    """The experiments as the page shows them; UserError for a figure that is not there.

    Args:
        ledger: the experiments.
        rows: of all experiments.
        folder: the folder results/, where the page and the folder of figures are.
        executed: the pages of the executed notebooks, by notebook.
    """
    by_key = {row.entry.key: row for row in rows}
    return [
        Section(
            experiment,
            [Table(group, [by_key[row.key] for row in group.rows]) for group in experiment.groups],
            [_picture(folder, figure.file, figure.caption) for figure in experiment.figures],
            {name: source(name) for name in experiment.functions},
            dict(_page_of(name, executed) for name in experiment.notebooks),
        )
        for experiment in ledger.experiments
    ]


def _page_of(name: str, executed: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """The notebook as this study calls it, with its pages; no pages where it was not executed here."""
    if name not in executed and name.startswith(CORPUS):
        name = next((other for other in executed if other.startswith(CORPUS)), name)
    return name, executed.get(name, [])


def _picture(folder: Path, file: str, caption: str) -> Picture:
    path = folder / "figures" / f"{file}.png"
    try:
        with Image.open(path) as image:
            size, small = image.size, base64.b64encode(_webp(image)).decode()
    except OSError:
        raise UserError(f"The figure {path} is not there as PNG; run the notebook that makes it.") from None
    return Picture(caption, f"data:image/webp;base64,{small}", *size, path.relative_to(folder).as_posix())


def _webp(image: Image.Image) -> bytes:
    """WebP of the same pixels, or of nearly the same where that takes less than half: so it does with faces."""
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    exact, near = io.BytesIO(), io.BytesIO()
    # A tenth larger than with the usual settings, in half of their time.
    image.save(exact, "WEBP", lossless=True, quality=20, method=2)
    image.save(near, "WEBP", quality=90, method=2)
    return (near if 2 * near.tell() < exact.tell() else exact).getvalue()


def source(name: str) -> str:
    """The text of a library function or class, such as `s2f.metrics.similarity.angles`; read, not imported."""
    module, _, function = name.rpartition(".")
    try:
        text = Path(find_spec(module).origin).read_text(encoding="utf-8")
    except (AttributeError, ModuleNotFoundError, ValueError):
        raise UserError(f"The ledger names {name!r}, but there is no module {module!r}; mend the entry.") from None
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == function:
            return ast.get_source_segment(text, node)
    raise UserError(f"The ledger names {name!r}, but {module} has no {function!r}; mend the entry.")


def gaps(groups: dict) -> list[dict]:
    """Gaps between groups, of all metrics and attributes: the one that luck explains least first.

    Args:
        groups: the numbers of the audit by metric, attribute and group, as results/audit.json holds them.

    Returns:
        The numbers of each gap, with its `metric`, its `attribute`, the group that is `last`, and `mdd80_adj` of that
        group (None where it is not known).
    """
    found = []
    for metric, attributes in groups.items():
        for attribute, members in attributes.items():
            if "gap" not in members:
                continue
            worst = members["worst"]["value"]
            compared = {name: row for name, row in members.items() if "difference" in row}
            last = min(compared, key=lambda name: abs(compared[name]["value"] - worst))
            row = {"metric": metric, "attribute": attribute, "last": last, "n_speakers": compared[last]["n_speakers"]}
            # A metric that is the same for everybody has no p, and no difference that would be found.
            row |= {"worst": worst, "p_adj": 1.0, "mdd80_adj": compared[last].get("mdd80_adj")}
            found.append(row | members["gap"])
    return sorted(found, key=lambda gap: (gap["p_adj"], gap["null_p95"] / (gap["value"] or 1)))


class Served(NamedTuple):
    """A group with its row of each metric, as the model card shows it."""

    attribute: str
    group: str
    n_speakers: int
    rows: list[dict]

    @property
    def furthest(self) -> float:
        """The smallest p of any metric."""
        return min((row["p_adj"] for row in self.rows if "p_adj" in row), default=1.0)


def served(groups: dict) -> list[Served]:
    """All speakers, then all groups, with all metrics; those that differ most from the rest come first."""
    first = next(iter(groups.values()), {})
    found = [
        Served(attribute, group, row["n_speakers"], [by[attribute][group] for by in groups.values()])
        for attribute, members in first.items()
        for group, row in members.items()
        if "n_speakers" in row  # gaps, ratios and worst groups sum an attribute up
    ]
    return sorted(found, key=lambda group: (group.attribute != "all", group.furthest))


def worst(results: dict, complete: bool) -> str | None:
    """The sentence on the group that the audit found served worst and, after several trainings, how many say so."""
    sentence = lookup(results, "audit.worst.sentence", complete)
    again = results.get(estimates.TRAININGS)
    concluded = {conclusion.key: conclusion.sentence for conclusion in conclusions(results)}
    group = lookup(results, "audit.worst", False)
    if not (sentence and again and group):
        return sentence
    key = f"audit.groups.{group['metric']}.{group['attribute']}.{group['group']}.value"
    holds = again["conclusions"].get(concluded.get(key), 0)
    return f"{sentence} So it was in {holds} of {len(again['seeds'])} trainings."


def write(
    folder: Path,
    ledger: Ledger,
    results: dict,
    title: str,
    speakers: str,
    complete: bool = True,
    output: Path | None = None,
    compared: Comparison | None = None,
) -> None:
    """Write report.json, report.html, model_card.md and datasheet.md.

    Args:
        folder: the folder results/, where the figures are too.
        ledger: all experiments.
        results: what the stages left, by file name.
        title: of the page.
        speakers: a sentence on whose voices the study has heard.
        complete: whether results or figures that are not there are errors; if not, what rests on them is left out.
        output: the folder where they go (default: `folder`).
        compared: this run beside the one in Git, which the page alone shows.
    """
    shown, left_out = covered(ledger, results, folder / "figures", complete)
    rows = ledger_rows(shown, results)
    headlines = [row for row in rows if row.entry.headline and row.ours is not None]
    groups = lookup(results, "audit.groups", complete) or {}
    found = {
        "worst": worst(results, complete),
        "moved": lookup(results, "robustness.beyond", complete) or [],
        "gaps": gaps(groups),
        "planted": lookup(results, "audit.planted", False),
        "controls": sorted(lookup(results, "evaluate.controls", False) or [], key=lambda row: -row["bound"]),
        "title": title,
        "caveat": f"{CAVEAT} {speakers}",
    }
    report = found | {
        "rows": [row.record() for row in rows],
        "headlines": [row.entry.key for row in headlines],
        "figures": [figure.model_dump() for experiment in shown.experiments for figure in experiment.figures],
    }
    output = folder if output is None else output
    write_json(report, output / "report.json")
    content = found | {"speakers": speakers, "headlines": headlines, "left_out": left_out}
    content["trainings"] = results.get(estimates.TRAININGS)
    data = {"data": lookup(results, "data", complete), "synthetic": synthetic(results)}
    sheet = _environment(html=False).get_template("datasheet.md.j2")
    texts = {
        "report.html": _page(content | {"compared": compared}, shown, rows, folder),
        "model_card.md": model_card(content | {"metrics": list(groups), "served": served(groups)}),
        "datasheet.md": sheet.render(content, **data),
    }
    for name, text in texts.items():
        with replacing(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _page(content: dict, shown: Ledger, rows: Sequence[Row], folder: Path) -> str:
    """The page. Only here stands when and where it was made, so that the other files depend on the results alone."""
    executed = pages.executed(folder.parent)
    parts = sections(shown, rows, folder, executed)
    made = {
        "Date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "Commit": provenance.commit(),
        "Machine": provenance.machine(),
        "Versions": provenance.versions(),
    }
    # What each notebook made: the way back from its page.
    notebooks = {name: [part.experiment for part in parts if name in part.pages] for name in executed}
    return (
        _environment(html=True)
        .get_template("page.html.j2")
        .render(content, sections=parts, made=made, executed=executed, notebooks=notebooks)
    )


def model_card(content: dict) -> str:
    """The model card, with the same numbers as the page."""
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
        language=[],
        license="apache-2.0",
        tags=["speech2face", "bias-audit"],
        model_name=content["title"],
        eval_results=[
            EvalResult(
                task_type="voice-to-face",
                dataset_type="s2f",
                dataset_name=content["title"],
                metric_type=row.entry.key,
                metric_name=f"{row.entry.group}: {row.entry.what}",
                metric_value=float(f"{row.ours:.3g}"),
            )
            for row in content["headlines"]
        ],
    )
    text = _environment(html=False).get_template("card.md.j2").render(content)
    return f"---\n{data.to_yaml()}\n---\n{text}"


def number(value: Number) -> str:
    """Three significant digits down to a thousandth, counts and thousands in full, or a dash."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 0.001 else f"{value:.3f}"


def probability(p: float) -> str:
    """A p value; below a thousandth, only that."""
    return "<0.001" if p < 0.001 else number(p)


def printed(value: float | None) -> str:
    """A published number with all its digits, two decimals at least, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else max(f"{value:.2f}", f"{value:.10g}", key=len)


def interval(low: Number, high: Number) -> str:
    """Both ends in brackets, or nothing."""
    return "" if low is None else f"[{number(low)}, {number(high)}]"


def percent(share: Number) -> str:
    """A share as a whole percentage, or a dash."""
    return "–" if share is None else f"{share:.0%}"


def _environment(html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "printed": printed, "percent": percent, "probability": probability}
    environment.globals["interval"] = interval
    return environment
