"""Which library files a notebook depends on. `python tests/closure.py` prints the lists for dvc.yaml."""

import ast
from pathlib import Path

from s2f.study import notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path: Path) -> str:
    """The code of a notebook."""
    return "\n".join(notebook.source(cell) for cell in notebook.code_cells(notebook.read(path)))


def closure(source: str) -> list[str]:
    """The files of s2f that this source needs, directly or not; data beside x.py, such as x.yaml, go along."""
    found: set[Path] = set()
    waiting = imported(source)
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imported(file.read_text()) - found
    data = {data for file in found for data in file.parent.glob(f"{file.stem}.*")}
    return sorted(str(file.relative_to(ROOT)) for file in found | data)


def imported(source: str) -> set[Path]:
    """The files of s2f that this source names in its imports, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    # A package is no file here: its `__init__` holds no code (tests/test_repository.py sees to that).
    files = {ROOT / (name.replace(".", "/") + ".py") for name in names if name.startswith("s2f.")}
    return {file for file in files if file.is_file()}


if __name__ == "__main__":
    for path in NOTEBOOKS:
        print(f"# {path.stem}", *(f"      - {file}" for file in closure(code(path))), sep="\n")
