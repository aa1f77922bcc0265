"""Executed notebooks, their index and the report lead to each other, and every picture says what it shows."""

import base64
import io
import json
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from s2f.report import page as report_page
from s2f.report.ledger import Ledger
from s2f.study import pages


class Page(HTMLParser):
    """The links, the targets of links and the pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.pictures = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)


def dangling(path):
    """The links of a page that lead nowhere."""
    lost = []
    for link in Page(path).links:
        parts = urlsplit(link)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if parts.scheme or not target.is_file():
            lost.append(link)
        elif parts.fragment and unquote(parts.fragment) not in Page(target).ids:
            lost.append(link)
    return lost


def picture(width=40):
    png = io.BytesIO()
    Image.fromarray(np.zeros((8, width), np.uint8)).save(png, "PNG")
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": "<Figure>"},
    }


def prose(text):
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": text}


def code(*outputs):
    return {
        "cell_type": "code", "id": "c", "metadata": {}, "source": "draw()", "execution_count": 1,
        "outputs": list(outputs),
    }  # fmt: skip


def notebook(*cells):
    cells = [cell | {"id": f"cell{number}"} for number, cell in enumerate(cells)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def study(tmp_path):
    """A study of three notebooks as executed, one of them twice; the report is still to be made."""
    for folder in ("src", "run"):
        (tmp_path / "build" / folder).mkdir(parents=True)
    for name in ("10_my-corpus", "40_evaluate", "70_ablations", "90_report"):
        (tmp_path / "build/src" / f"{name}.ipynb").write_text("{}")
    content = notebook(prose("# The <claim> & more\n\nIt *holds*. Really."), code(picture()))
    for stem in ("10_my-corpus", "40_evaluate", "70_ablations-full", "70_ablations-first_only", "90_report"):
        (tmp_path / "build/run" / f"{stem}.ipynb").write_text(json.dumps(content))
        name = stem.split("-")[0] if stem.startswith("70") else stem
        pages.write_page(content, tmp_path / "build/run" / f"{stem}.html", name, tmp_path)
    (tmp_path / "results/figures/evaluate").mkdir(parents=True)
    Image.effect_noise((600, 200), 80).save(tmp_path / "results/figures/evaluate/noise.png")
    pages.write_index(tmp_path)
    return tmp_path


def experiment(name, notebooks, **more):
    fixed = {"where": name.title(), "title": f"About {name}", "claim": "It works."}
    return {"id": name, "notebooks": notebooks, "functions": ["s2f.metrics.similarity.angles"]} | fixed | more


def noise(caption):
    return {"file": "evaluate/noise", "caption": caption}


@pytest.fixture
def report(study):
    ledger = Ledger(
        experiments=[
            experiment("angles", ["40_evaluate", "10_data_prep"], figures=[noise("All <noise>.")]),
            experiment("losses", ["70_ablations", "99_elsewhere"], figures=[noise("Again.")]),
        ]
    )
    report_page.write(study / "results", ledger, {}, "A study", "Nobody speaks.", complete=False)
    return study / "results/report.html"


def test_no_link_between_report_index_and_pages_dangles(study, report):
    written = [*(study / "build/run").glob("*.html"), report]
    assert len(written) == 7
    assert {page.name: lost for page in written if (lost := dangling(page))} == {}


def test_every_page_leads_to_the_index_and_to_its_place_in_the_report_and_both_lead_back(study, report):
    index, whole = (Page(path) for path in (study / "build/run/index.html", report))
    assert "../../results/report.html" in index.links and "../build/run/index.html" in whole.links
    for stem, place in (("40_evaluate", "40_evaluate"), ("70_ablations-full", "70_ablations")):
        links = Page(study / f"build/run/{stem}.html").links
        assert {"index.html", f"../../results/report.html#{place}"} <= set(links)
        assert f"{stem}.html" in index.links and f"../build/run/{stem}.html" in whole.links


def test_a_corpus_is_made_by_a_notebook_of_another_name(report):
    section = report.read_text().split('<section id="angles">')[1].split("</section>")[0]
    assert "../build/run/10_my-corpus.html" in section and "10_data_prep" not in section


def test_a_notebook_that_was_not_executed_is_named_without_a_link(report):
    assert "99_elsewhere" in report.read_text()
    assert not [link for link in Page(report).links if "99_elsewhere" in link]


def test_a_study_without_a_report_has_an_index_and_no_link_to_a_report(study):
    (study / "build/src/90_report.ipynb").unlink()
    page = study / "build/run/40_evaluate.html"
    pages.write_page(notebook(prose("# Here")), page, "40_evaluate", study)
    pages.write_index(study)
    assert dangling(page) == dangling(study / "build/run/index.html") == []
    assert not [link for name in (page, page.with_name("index.html")) for link in Page(name).links if "report" in link]


def test_a_page_of_a_notebook_that_is_gone_leaves_the_index(study):
    (study / "build/src/40_evaluate.ipynb").unlink()
    assert "40_evaluate.html" not in Page(pages.write_index(study)).links


def test_each_picture_says_what_it_shows(study, report):
    for path in [*(study / "build/run").glob("*.html"), report]:
        for shown in Page(path).pictures:
            assert shown["alt"].strip() and "No description" not in shown["alt"]
    assert [shown["alt"] for shown in Page(report).pictures] == ["All <noise>.", "Again."]
    assert [shown["alt"] for shown in Page(study / "build/run/40_evaluate.html").pictures] == [
        "The <claim> & more. It holds."
    ]


def test_the_alternative_text_is_the_nearest_heading_and_what_the_prose_says_first():
    described = pages.described(
        notebook(
            code(picture()),
            prose("# Top\n\n**Claim.** Voices [tell](x.html) `something`. Not all."),
            code(picture(), picture()),
            prose("## Below\n\n| a | b |\n|---|---|"),
            code({"output_type": "stream", "name": "stdout", "text": "x"}, picture()),
            prose("Then more: much."),
            code(picture()),
        )
    )
    texts = [
        output["metadata"]["alt"]
        for cell in described["cells"]
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert texts == [
        "Top.",
        "Top. Voices tell something.",
        "Top (picture 2). Voices tell something.",
        "Below.",
        "Below (picture 2). Then more:",
    ]


def test_figures_lead_to_their_full_size_and_are_shown_with_their_own(report):
    whole = Page(report)
    assert "figures/evaluate/noise.png" in whole.links
    shown, _ = whole.pictures
    assert (shown["width"], shown["height"]) == ("600", "200")
    assert shown["src"].startswith("data:image/")
    with Image.open(io.BytesIO(base64.b64decode(shown["src"].split(",")[1]))) as inside:
        assert inside.size == (600, 200)


@pytest.mark.parametrize("curve", [True, False])
def test_a_figure_in_the_page_looks_like_its_file_and_takes_less(study, curve):
    steps = np.linspace(0, 1, 900)
    surface = (127 * (1 + np.sin(20 * steps[:, None]) * np.cos(31 * steps))).astype(np.uint8)
    pixels = (
        255 * (surface > 127).astype(np.uint8)
        if curve
        else surface + np.random.default_rng(1).integers(0, 6, surface.shape, dtype=np.uint8)
    )
    file = study / "results/figures/evaluate/noise.png"
    Image.fromarray(np.stack([pixels, pixels // 2, 255 - pixels], -1)).save(file)
    ledger = Ledger(experiments=[experiment("angles", ["x"], figures=[noise("One.")])])
    report_page.write(study / "results", ledger, {}, "A study", "Nobody speaks.", complete=False)
    (shown,) = Page(study / "results/report.html").pictures
    inside = base64.b64decode(shown["src"].split(",")[1])
    assert len(inside) < file.stat().st_size
    with Image.open(file) as full, Image.open(io.BytesIO(inside)) as small:
        apart = np.abs(np.asarray(full, int) - np.asarray(small.convert("RGB"), int))
    assert apart.max() == 0 if curve else apart.mean() < 4


def test_the_page_says_when_and_by_what_it_was_made_and_nothing_else_does(report):
    text = report.read_text()
    for name in ("Date", "Commit", "Machine", "Versions"):
        assert f"<dt>{name}</dt>" in text
    assert "Python 3." in text and "torch 2." in text and "numpy 2." in text
    others = [path.read_bytes() for path in report.parent.glob("*.*") if path != report]
    assert len(others) == 3
    for content in others:
        assert b"Python 3." not in content and b"GiB" not in content
