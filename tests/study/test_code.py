"""Which edits of a small library change the digests of what a notebook reaches, and which do not."""

import subprocess
import sys
from textwrap import dedent

import pytest
from repository import NOTEBOOKS, ROOT, code

from s2f.study.code import Library, digest

LIBRARY = {
    "__init__.py": '"""A library."""',
    "metrics/__init__.py": '"""Statistics."""',
    "metrics/bootstrap.py": '''
        """Intervals."""
        import numpy as np
        from toy.metrics.sums import total

        REPLICATES = 2000
        UNUSED = 1

        def interval(values):
            """An interval."""
            return _mean(values), REPLICATES  # of the mean

        def _mean(values):
            return total(np.asarray(values)) / len(values)

        def nobody_calls_this(values):
            return values
    ''',
    "metrics/sums.py": """
        def total(values):
            return sum(values)

        def product(values):
            return values
    """,
    "models.py": """
        from functools import cached_property
        from outside import Layer

        class Encoder(Layer):
            def forward(self, x):
                return x

        class Sampler:
            size = 3

            def __init__(self, seed):
                self.seed = seed

            @property
            def spread(self):
                return 1

            @cached_property
            def table(self):
                return 2

            @staticmethod
            def helper():
                return 3

            def draw(self):
                return self.spread

        class Fair(Sampler):
            def weights(self):
                return 4
    """,
    "report.py": """
        from pathlib import Path

        PAPER = Path(__file__).with_suffix(".yaml")

        def page(row):
            return (Path(__file__).parent / "page.html.j2").read_text()

        def load():
            return PAPER.read_text()

        class Row:
            def title(self):
                return 1

            def footer(self):
                return 2
    """,
    "report.yaml": "rows: 3",
    "page.html.j2": "{{ row.title() }} {% include 'page.css' %}",
    "page.css": "body {}",
    "notes.txt": "nobody reads this",
    "registry.py": """
        from toy import metrics
        TABLE = {}

        def register(function):
            TABLE[function.__name__] = function
            return function

        @register
        def first():
            return 1

        def plain():
            return 2

        if __name__ == "__main__":
            print(plain())
    """,
    "late.py": """
        def go(name):
            from toy.metrics import sums as s
            import toy.metrics.bootstrap
            return s.product(1), toy.metrics.bootstrap.interval([1])

        def other():
            import toy.models as m
            return vars(m)
    """,
    "again.py": "from toy.metrics.bootstrap import interval as ci\nfrom toy.metrics import sums\nsums.seed = 3\n",
    "shared.py": """
        try:
            from toy.metrics import sums
        except ImportError:
            sums = None

        state = {}
        state["a"] = 1

        def use():
            return sums

        def quoted(x: "Answer") -> "list[Answer]":
            return x

        class Answer:
            pass

        def first():
            global late
            from toy.metrics.sums import product as late
    """,
}


@pytest.fixture
def toy(tmp_path):
    for name, text in LIBRARY.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    return tmp_path / "toy"


def changed(toy, file, old, new, source):
    """The files whose digests change for `source` with an edit of the library."""
    before = Library(toy).reached(source)
    text = (toy / file).read_text()
    assert text.count(old) == 1, f"{old!r} is not once in {file}"
    (toy / file).write_text(text.replace(old, new))
    after = Library(toy).reached(source)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


INTERVAL = "from toy.metrics import bootstrap\nbootstrap.interval([1])"
SAMPLER = "from toy.models import Sampler\nSampler(1)"
BOOTSTRAP, SUMS, MODELS = "metrics/bootstrap.py", "metrics/sums.py", "models.py"


@pytest.mark.parametrize(
    "file, old, new, source",
    [
        (BOOTSTRAP, "An interval.", "Another.", INTERVAL),
        (BOOTSTRAP, '"""Intervals."""', '"""Simultaneous intervals.\n\nMore.\n"""', INTERVAL),
        (BOOTSTRAP, "  # of the mean", "", INTERVAL),
        (BOOTSTRAP, "REPLICATES = 2000", "\n\nREPLICATES = (\n    2_000)", INTERVAL),
        (BOOTSTRAP, "nobody_calls_this", "nobody", INTERVAL),
        (BOOTSTRAP, "UNUSED = 1", "UNUSED = 2", INTERVAL),
        (SUMS, "return values", "return 0", INTERVAL),
        (BOOTSTRAP, "/ len(values)", "/ 2", "from toy.metrics.sums import total\ntotal([1])"),
        (BOOTSTRAP, "/ len(values)", "/ 2", "from toy.metrics import bootstrap\nbootstrap.REPLICATES"),
        (MODELS, "return self.spread", "return 0", SAMPLER),
        (MODELS, "return 1", "return 0", SAMPLER),
        (MODELS, "return 4", "return 0", "from toy.models import Fair\nFair(1).draw()"),
        ("registry.py", "return 2", "return 0", "from toy import registry\nregistry.TABLE"),
        ("registry.py", "print(plain())", "pass", "from toy import registry\nregistry.plain()"),
        ("report.py", "return 2", "return 0", "from toy.report import Row, page\npage(Row())"),
        ("page.css", "body", "div", "from toy import report\nreport.load()"),
        ("notes.txt", "nobody", "somebody", "from toy import report\nreport.page(report.load())"),
        ("late.py", "import toy.models as m", "import toy.report as m", "from toy import late\nlate.go(1)"),
    ],
)  # fmt: skip
def test_what_is_never_run_changes_nothing(toy, file, old, new, source):
    assert changed(toy, file, old, new, source) == []


@pytest.mark.parametrize(
    "file, old, new, source",
    [
        (BOOTSTRAP, "/ len(values)", "/ 2", INTERVAL),  # called by what is called
        (BOOTSTRAP, "2000", "2000.0", INTERVAL),
        (BOOTSTRAP, "import numpy as np", "import jax.numpy as np", INTERVAL),
        (SUMS, "sum(values)", "max(values)", INTERVAL),
        (SUMS, "sum(values)", "max(values)", "import toy.metrics.bootstrap as b\nb.interval([1])"),
        (SUMS, "sum(values)", "max(values)", "import toy.metrics.bootstrap\ntoy.metrics.bootstrap.interval([1])"),
        (SUMS, "sum(values)", "max(values)", "import toy\nf(toy)"),
        (SUMS, "sum(values)", "max(values)", "from toy.metrics.bootstrap import *\ninterval([1])"),
        (SUMS, "sum(values)", "max(values)", "from toy.again import ci\nci([1])"),  # by another name
        (SUMS, "sum(values)", "max(values)", "from toy import again\nagain.ci([1])"),
        (SUMS, "sum(values)", "max(values)", "from toy import late\nlate.go(1)"),  # imported in a function
        (SUMS, "return values", "return 0", "from toy import late\nlate.go(1)"),
        (SUMS, "sum(values)", "max(values)", "from toy.shared import use\nuse()"),  # imported in a `try`
        (SUMS, "return values", "return 0", "from toy import shared\nshared.first()\nshared.late(1)"),
        (SUMS, "return values", "return 0", "from toy.metrics import sums\ngetattr(sums, name)"),
        (SUMS, "return values", "return 0", "from toy.metrics import sums\nsums.missing"),
        (SUMS, "return values", "return 0", "import importlib\nimportlib.import_module('toy.metrics.sums')"),
        (SUMS, "return values", "return 0", "%matplotlib inline\nfrom toy import report"),  # no plain Python
        ("again.py", "sums.seed = 3", "sums.seed = 4", "from toy.again import ci"),  # binds no name
        ("shared.py", '["a"] = 1', '["a"] = 2', "from toy import shared\nshared.use()"),
        ("shared.py", "    pass", "    size = 1", "from toy import shared\nshared.quoted(1)"),
        ("registry.py", "return 1", "return 0", "from toy import registry\nregistry.TABLE"),  # registers itself
        (MODELS, "return x", "return 0", "from toy.models import Encoder\nEncoder()(1)"),  # called from outside
        (MODELS, "size = 3", "size = 4", SAMPLER),
        (MODELS, "self.seed = seed", "self.seed = 0", SAMPLER),
        (MODELS, "return self.spread", "return 0", SAMPLER + ".draw()"),
        (MODELS, "return 1", "return 0", SAMPLER + ".draw()"),
        (MODELS, "return 2", "return 0", SAMPLER + ".table"),
        (MODELS, "return 3", "return 0", "from toy import models\nmodels.Sampler.helper()"),
        (MODELS, "return 3", "return 0", SAMPLER + "\nf('helper')"),
        (MODELS, "return 3", "return 0", "from toy import models\ngetattr(models.Sampler, f'help{x}')()"),
        (MODELS, "return 4", "return 0", "from toy.models import Fair\nFair(1).weights()"),
        (MODELS, "return self.spread", "return 0", "from toy.models import Fair\nFair(1).draw()"),
        (MODELS, "return x", "return 0", "from toy import late\nlate.other()"),
        ("report.py", "return 1", "return 0", "from toy.report import Row, page\npage(Row())"),  # by a template
        ("report.yaml", "3", "4", "from toy import report\nreport.load()"),
        ("page.html.j2", "row", "line", "from toy import report\nreport.page(1)"),
        ("page.css", "body", "div", "from toy import report\nreport.page(1)"),
    ],
)  # fmt: skip
def test_what_may_run_changes_its_file(toy, file, old, new, source):
    assert f"toy/{file}" in changed(toy, file, old, new, source)


def test_a_file_is_named_only_where_something_of_it_is_reached(toy):
    assert list(Library(toy).reached(INTERVAL)) == ["toy/metrics/bootstrap.py", "toy/metrics/sums.py"]
    assert Library(toy).reached("import numpy as np\nnp.mean([1])") == {}


def test_docstrings_that_the_program_shows_count(toy):
    (toy / "cli.py").write_text('"""Help."""\n\ndef main():\n    """Run."""\n    print(__doc__)\n')
    assert changed(toy, "cli.py", "Run.", "Go.", "from toy import cli\ncli.main()") == ["toy/cli.py"]


def test_circles_and_relative_imports(toy):
    (toy / "a.py").write_text("from . import b\n\ndef f():\n    return b.g()\n")
    (toy / "b.py").write_text("from .a import f\n\ndef g():\n    return f\n\ndef h():\n    return 1\n")
    source = "from toy import a\na.f()"
    assert changed(toy, "b.py", "return f\n", "return f()\n", source) == ["toy/b.py"]
    assert changed(toy, "b.py", "return 1", "return 2", source) == []


def test_the_digest_of_a_function_is_that_of_all_it_reaches(toy):
    """Asked in a process each, since a process goes on with the code that it imported."""

    def value(name):
        ask = f"from s2f.study.code import digest; from toy.metrics import bootstrap as b; print(digest(b.{name}))"
        run = [sys.executable, "-c", ask]
        return subprocess.check_output(run, cwd=toy.parent, env={"PYTHONPATH": f"{toy.parent}:{ROOT}"}, text=True)

    (toy / BOOTSTRAP).write_text((toy / BOOTSTRAP).read_text().replace("import numpy as np", "import math as np"))
    before = value("interval"), value("nobody_calls_this")
    (toy / SUMS).write_text((toy / SUMS).read_text().replace("sum(", "max(").replace("return values", "return 1"))
    assert value("interval") != before[0] and value("nobody_calls_this") == before[1]


# ---- this repository


def test_training_reaches_no_statistics_and_all_it_needs():
    from s2f.training.voice import train_voice_encoder

    library = Library()
    reached = {path.stem: library.reached(code(path)) for path in NOTEBOOKS}
    for name in ("20_face_model", "30_train", "70_ablations"):
        assert "s2f/metrics/bootstrap.py" not in reached[name]
        assert {"s2f/study/precision.py", "s2f/training/loop.py"} <= set(reached[name])
    assert "s2f/metrics/bootstrap.py" in reached["60_retrieval"]
    assert "s2f/report/ledger.yaml" in reached["90_report"] and "s2f/report/page.css" in reached["90_report"]
    assert len(digest(train_voice_encoder)) == 16
