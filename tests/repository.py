"""The places of the repository that several tests look at."""

from pathlib import Path

from s2f.study import notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path: Path) -> str:
    """The code of a notebook."""
    return "\n".join(notebook.source(cell) for cell in notebook.code_cells(notebook.read(path)))
