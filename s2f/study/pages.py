"""The pages of executed notebooks: build/run/NAME.html, an index of them, and the way to the report and back.

`build/run/index.html` is no output of any stage, since every run writes it again.
"""

import json
import re
from html import unescape
from pathlib import Path

from s2f.study.paths import replacing

REPORT = "90_report"  # the notebook that writes results/report.html
PICTURES = {"image/png", "image/jpeg", "image/svg+xml"}
HERE = Path(__file__).parent


def executed(root: Path) -> dict[str, list[str]]:
    """The pages that each notebook of a study has, without suffix; `70_ablations` has one for each of its runs.

    A page counts as soon as its notebook runs: it is written whether or not a cell fails.
    """
    stems = sorted(path.stem for path in (root / "build" / "run").glob("*.ipynb"))
    notebooks = sorted(path.stem for path in (root / "build" / "src").glob("*.ipynb"))
    pages = {name: [stem for stem in stems if stem == name or stem.startswith(f"{name}-")] for name in notebooks}
    return {name: found for name, found in pages.items() if found}


def report(root: Path, section: str = "") -> str:
    """The link from a page to the report, or to what one notebook made there; empty where the study makes no report."""
    if not (root / "build" / "src" / f"{REPORT}.ipynb").is_file():
        return ""
    return f"../../results/report.html{'#' if section else ''}{section}"


def write_page(notebook: dict, path: Path, name: str, root: Path) -> None:
    """One page that needs no network; formulas in the prose stay as TeX source.

    Args:
        notebook: prose, code and outputs.
        path: of the page, in build/run.
        name: of the notebook.
        root: of the study.
    """
    import nbformat
    from jinja2 import FileSystemLoader
    from nbconvert.exporters.html import HTMLExporter

    exporter = HTMLExporter(
        template_file="notebook.html.j2",
        extra_loaders=[FileSystemLoader(HERE)],
        embed_images=True,
    )
    node = nbformat.reads(json.dumps(described(notebook)), as_version=4)
    resources = {"metadata": {"name": headline(notebook) or path.stem}, "report": report(root, name)}
    page, _ = exporter.from_notebook_node(node, resources=resources)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def write_index(root: Path) -> Path:
    """A page that links all executed notebooks, and the report where the study has one; returns its path."""
    from jinja2 import Environment, FileSystemLoader

    folder = root / "build" / "run"
    found = [page for pages in executed(root).values() for page in pages if (folder / f"{page}.html").is_file()]
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True)
    titles = {page: _title(folder / f"{page}.html") for page in found}
    text = environment.get_template("index.html.j2").render(titles=titles, report=report(root))
    index = folder / "index.html"
    with replacing(index) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return index


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as file:
        found = re.search(r"<title>(.*?)</title>", file.read(2000), re.S)
    return unescape(found[1]) if found else page.stem


def headline(notebook: dict) -> str:
    """The first heading of a notebook, or nothing."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and (headings := _headings(_source(cell))):
            return headings[0]
    return ""


def described(notebook: dict) -> dict:
    """The notebook, in which each picture has an alternative text: the heading above it and what the prose says first.

    A copy; the text is `alt` in the metadata of the output.
    """
    heading, sentence, count, cells = headline(notebook) or "Picture", "", 0, []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = _headings(_source(cell))
            heading, count = (headings[-1], 0) if headings else (heading, count)
            sentence = _first_sentence(_source(cell)) or sentence * (not headings)
        outputs = []
        for output in cell.get("outputs", []):
            if PICTURES & set(output.get("data", {})):
                count += 1
                number = f" (picture {count})" if count > 1 else ""
                alt = f"{heading}{number}. {sentence}".strip()
                output = output | {"metadata": output.get("metadata", {}) | {"alt": alt}}
            outputs.append(output)
        cells.append(cell | {"outputs": outputs} if outputs else cell)
    return notebook | {"cells": cells}


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def _headings(text: str) -> list[str]:
    return [_plain(heading) for heading in re.findall(r"^#+ +(.+)$", text, re.M)]


def _first_sentence(text: str) -> str:
    """The first sentence of the first paragraph that is no heading, table or list."""
    paragraphs = (paragraph.strip() for paragraph in re.sub(r"^#+ .*$", "\n", text, flags=re.M).split("\n\n"))
    first = next((paragraph for paragraph in paragraphs if paragraph and paragraph[0] not in "|-<$`>"), "")
    return re.split(r"(?<=[.!?:])\s", _plain(first.removeprefix("**Claim.** ")), maxsplit=1)[0]


def _plain(text: str) -> str:
    """Markdown as text: links as their words, no marks of emphasis or code, one line."""
    return " ".join(re.sub(r"[*`]", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)).split())
