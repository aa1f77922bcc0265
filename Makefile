# make repro   run the whole study and say where the report is
# make repro-published   run the study of real voices and faces on the samples in S2F_PUBLISHED (studies/published)
# make repro-published-corpus   the chain of the default study on the same samples (studies/published_corpus)
# make test    lint, then the tests
# make lint    ruff, the layers of the library, notebooks without outputs
# make bench   time the fast paths beside the plain ones, for docs/performance.md
# make lab     JupyterLab
# make env     only the environment (each target above makes it when it is missing)
# make lock    solve requirements.lock again (needs uv)
# make clean   remove what tools left behind; data, models and results stay

VENV ?= .venv
UV ?= $(shell command -v uv)
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN := $(abspath $(VENV))/bin
# Stages and notebooks start `python`, `dvc` and `jupyter` by name. Without bytecode, which containers often forbid, each of
# ten kernels would compile torch and its like again: 12 s a stage instead of 4 s.
RUN := PYTHONDONTWRITEBYTECODE= PATH="$(BIN):$$PATH"
INSTALLED := $(VENV)/.installed

.PHONY: repro repro-published repro-published-corpus test lint bench lab env lock clean

repro: $(INSTALLED)
	$(RUN) python -m s2f.study.config params.yaml
	@# An unpacked archive is no Git checkout; DVC has to be told.
	@git rev-parse --git-dir >/dev/null 2>&1 || $(RUN) dvc config --local core.no_scm true
	$(RUN) dvc repro
	@echo "The report: $(CURDIR)/build/run/90_report.html"

repro-published: $(VENV)/.published
	cd studies/published && $(RUN) S2F_PUBLISHED="$(abspath $(S2F_PUBLISHED))" dvc repro
	@echo "The tables: studies/published/results/, the notebooks: studies/published/build/run/"

repro-published-corpus: $(VENV)/.published
	cd studies/published_corpus && $(RUN) S2F_PUBLISHED="$(abspath $(S2F_PUBLISHED))" dvc repro
	@echo "The report: $(CURDIR)/studies/published_corpus/results/report.html"

test: lint
	$(RUN) python -m pytest

lint: $(INSTALLED)
	$(RUN) ruff check
	$(RUN) lint-imports
	$(RUN) nbstripout --keep-id --verify notebooks/*.ipynb studies/*/notebooks/*.ipynb

bench: $(INSTALLED)
	@mkdir -p scratch
	$(RUN) python -m pytest benchmarks/bench_*.py -o addopts= --benchmark-json=scratch/bench.json
	$(RUN) python benchmarks/table.py scratch/bench.json docs/performance.md

lab: $(INSTALLED)
	$(RUN) jupyter lab

env: $(INSTALLED)

# The stamp comes last, so an interrupted installation is taken up again.
$(INSTALLED): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "s2f needs Python 3.11 or newer: install one, or name it with make PYTHON=/path/to/python." >&2; exit 1; }
ifneq ($(UV),)
	test -x "$(BIN)/python" || "$(UV)" venv --python "$(PYTHON)" $(VENV)
	"$(UV)" pip install --python "$(BIN)/python" -r requirements.lock
	"$(UV)" pip install --python "$(BIN)/python" --no-deps -e '.[test]'
else
	"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV)
	"$(BIN)/python" -m pip install -r requirements.lock
	"$(BIN)/python" -m pip install --no-deps -e '.[test]'
endif
	touch $@

lock:
	echo '# Exact versions for Python 3.11 and newer, solved from the ranges in pyproject.toml by: make lock' > $@.tmp
	uv pip compile --quiet --universal --python-version 3.11 --extra test --no-header --no-annotate pyproject.toml >> $@.tmp
	mv $@.tmp requirements.lock

clean:
	rm -rf build scratch .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find s2f tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

$(VENV)/.published: $(INSTALLED) studies/published/requirements.txt
ifneq ($(UV),)
	"$(UV)" pip install --python "$(BIN)/python" --no-deps -r studies/published/requirements.txt
else
	"$(BIN)/python" -m pip install --no-deps -r studies/published/requirements.txt
endif
	touch $@
