"""Write what `make bench` measured into docs/performance.md: `python benchmarks/table.py MEASURED.json PAGE.md`."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from s2f.study.paths import replacing

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


class Line(NamedTuple):
    """A line of the table: what is measured, its benchmark, and what is asked of it."""

    what: str
    name: str  # the benchmark of the plain way, if there is one, is called NAME_plain
    clips: int = 1  # in one call
    asked: str = ""
    met: Callable[[float, float], bool] | None = None  # given milliseconds a clip, of ours and of the plain way


LINES = (
    Line("spectrogram, beside NumPy", "test_spectrogram", 1, "at most 1.1 ms", lambda ours, _: ours <= 1.1),
    Line("spectrogram, batch of 32, beside torch with `pow`", "test_spectrogram_batch", 32),
    Line(
        "packed clips, batch of 32, beside WAV files", "test_gather", 32,
        "at least 15,000 clips/s", lambda ours, _: 1000 / ours >= 15_000,
    ),
    Line("small voice encoder", "test_small_encoder"),
    Line(
        "voice to face from a WAV file, small models", "test_voice_to_face", 1,
        "at most 30 ms", lambda ours, _: ours <= 30,
    ),
    Line(
        "paper's voice encoder, bfloat16 channels last, beside float32 eager", "test_paper_encoder", 1,
        "at most 0.35 of plain", lambda ours, plain: ours / plain <= 0.35,
    ),
)  # fmt: skip


def table(measured: dict) -> str:
    """The machine, then a line each with its median time and whether it is what was asked."""
    benchmarks = {benchmark["name"]: benchmark for benchmark in measured["benchmarks"]}
    for name, benchmark in benchmarks.items():
        if benchmark["options"]["timer"] != "process_time":
            raise SystemExit(f"{name} measured {benchmark['options']['timer']}, not CPU time: give it that timer.")
    machine = measured["machine_info"]
    rows = [
        f"{machine['cpu']['brand_raw']}, torch {machine['torch']}, Python {machine['python_version']}, one thread, "
        f"{measured['datetime'][:10]}. Times are CPU milliseconds for one clip of 6 s, medians.",
        "",
        "| what | ours | clips/s | plain | ours / plain | asked | |",
        "|---|---:|---:|---:|---:|---|---|",
        *(row(line, benchmarks) for line in LINES),
        "",
        f"The paper's encoder in bfloat16 gives the feature of float32 to a cosine of "
        f"{benchmarks['test_paper_encoder']['extra_info']['cosine']:.6f} (asked: above 0.9999).",
    ]
    return "\n".join(rows)


def row(line: Line, benchmarks: dict) -> str:
    """One line of the table, in Markdown."""
    ours, plain = (
        1000 * benchmarks[name]["stats"]["median"] / line.clips if name in benchmarks else math.nan
        for name in (line.name, f"{line.name}_plain")
    )
    beside = ("", "") if math.isnan(plain) else (digits(plain), f"{ours / plain:.2f}")
    met = "" if line.met is None else "met" if line.met(ours, plain) else "missed"
    cells = [line.what, digits(ours), digits(1000 / ours), *beside, line.asked, met]
    return f"| {' | '.join(cells)} |"


def digits(number: float) -> str:
    """Three digits or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def main(measured: Path, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    lines = table(json.loads(measured.read_text(encoding="utf-8")))
    with replacing(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}", encoding="utf-8")
    print(lines)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
