"""`make gpu` at a size that only shows that it runs, on the CPU."""

import subprocess
import sys

from repository import ROOT

PAGE = "before\n<!-- gpu: begin -->\nold\n<!-- gpu: end -->\nafter\n"


def test_it_writes_its_table_between_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", page, "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    assert text.startswith("before\n<!-- gpu: begin -->\n") and text.endswith("\n<!-- gpu: end -->\nafter\n")
    assert "old" not in text and "Failed" not in text
    lines = text.splitlines()
    for batch in (2, 4, 8):
        (line,) = [line for line in lines if line.startswith(f"| {batch} | ")]
        assert "clips/s" in line
    # Only what takes a compiler is left out.
    assert [line.split(" | ")[0] for line in lines if "not measured" in line] == ["| plain, compiled"]
    assert text.count("the same to all digits") == 2


def test_without_a_gpu_it_says_so_and_leaves_the_page_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    program = "import sys, torch; torch.cuda.is_available = lambda: False; sys.argv[1:] = [%r]; import gpu; gpu.main()"
    done = subprocess.run(
        [sys.executable, "-c", program % str(page)], cwd=ROOT / "benchmarks", capture_output=True, text=True
    )
    assert done.returncode != 0 and "no GPU" in done.stderr
    assert page.read_text() == PAGE
