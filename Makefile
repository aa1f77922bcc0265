# make repro   run the whole study, stages side by side, say whether its numbers are those in Git and where the report is
# make repro-published   run the study of real voices and faces on the samples in S2F_PUBLISHED (studies/published)
# make repro-published-corpus   the chain of the default study on the same samples (studies/published_corpus)
# make pull    what another person computed, from the DVC remote that was added (README.md)
# make test    lint, then the tests
# make lint    ruff, the layers of the library, notebooks without outputs
# make faults  kill, starve and damage a small study, and say whether it ends as an undisturbed one; ARGS=--kills=3 makes it short
# make bench   time the fast paths beside the plain ones, for docs/performance.md
# make gpu     train at the paper's size on a GPU for some minutes, for docs/performance.md
# make lab     JupyterLab; make lab ARGS=... hands it options
# make app     notebooks/00_explore as a web page for this machine alone: record a voice, see the face; ARGS as for lab
# make env     only the environment (each target above makes it when it is missing)
# make lock    solve requirements.lock again (needs uv)
# make clean   remove what tools left behind; data, models, results and executed notebooks stay

VENV ?= .venv
UV ?= $(shell command -v uv)
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# Paths may have blanks, which make's own functions for paths split at; a quote in a path is written for the shell.
quote = '$(subst ','\'',$1)'
absolute = $(if $(filter /%,$(firstword $1)),$1,$(CURDIR)/$1)
ENVIRONMENT := $(call absolute,$(VENV))
SAMPLES := $(if $(S2F_PUBLISHED),$(call absolute,$(S2F_PUBLISHED)))
BIN := $(ENVIRONMENT)/bin
# Stages and notebooks start `python`, `dvc` and `jupyter` by name. Without bytecode, which containers often forbid, each of
# ten kernels would compile torch and its like again: 12 s a stage instead of 4 s.
RUN := PYTHONDONTWRITEBYTECODE= PYTHONUTF8=1 PATH=$(call quote,$(BIN)):"$$PATH"
# Where Git does not track the study (an unpacked archive, a folder inside another repository that ignores it) DVC has to know.
scm = git ls-files --error-unmatch dvc.yaml >/dev/null 2>&1 || $(RUN) dvc config --local core.no_scm true
# DVC and uv want a home, DVC the name of the user; a container may have neither (docker run --user 4321).
ifeq ($(shell test -w "$$HOME" && echo yes),)
export HOME := $(CURDIR)/scratch/home
endif
export LOGNAME ?= user

.NOTPARALLEL:
.PHONY: repro repro-published repro-published-corpus pull test lint bench gpu faults lab app env samples lock clean

repro: env
	@$(scm)
	$(RUN) python -m s2f.study.config params.yaml
	$(RUN) python -m s2f.study.scheduler
	@$(RUN) python -m s2f.study.notebook index
	@$(RUN) s2f compare || true
	@echo "The report: $(CURDIR)/results/report.html"

repro-published: samples
	@cd studies/published && { $(scm); }
	cd studies/published && $(RUN) S2F_PUBLISHED=$(call quote,$(SAMPLES)) dvc repro
	@echo "The tables: $(CURDIR)/studies/published/results, the notebooks: $(CURDIR)/studies/published/build/run/index.html"

repro-published-corpus: samples
	@cd studies/published_corpus && { $(scm); }
	cd studies/published_corpus && $(RUN) S2F_PUBLISHED=$(call quote,$(SAMPLES)) dvc repro
	@echo "The report: $(CURDIR)/studies/published_corpus/results/report.html"

# Without a remote, DVC names each file that is missing.
pull: env
	@test -n "$$($(RUN) dvc remote list)" || { \
		echo "s2f: there is no remote to pull from: name one with dvc remote add -d shared PLACE (README.md)." >&2; exit 1; }
	$(RUN) dvc pull
	@$(RUN) python -m s2f.study.notebook index

# The tests of a file share what they made; the longest file comes first.
test: lint
	$(RUN) python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: env
	$(RUN) ruff check
	$(RUN) lint-imports
	$(RUN) nbstripout --keep-id --verify notebooks/*.ipynb studies/*/notebooks/*.ipynb

bench: env
	@mkdir -p scratch
	$(RUN) python -m pytest benchmarks/bench_*.py -o addopts= --benchmark-json=scratch/bench.json
	$(RUN) python benchmarks/table.py scratch/bench.json docs/performance.md

faults: env
	$(RUN) python tests/faults.py $(ARGS)

gpu: env
	$(RUN) python benchmarks/gpu.py docs/performance.md

lab: env
	MPLBACKEND= $(RUN) jupyter lab $(ARGS)

# Voilà hides the code and runs it for each visitor; it listens on this machine only. MPLBACKEND as for lab.
app: env
	MPLBACKEND= $(RUN) voila notebooks/00_explore.ipynb --Voila.ip=127.0.0.1 $(ARGS)

env:
	@PYTHON=$(call quote,$(PYTHON)) UV=$(call quote,$(UV)) sh .ci/environment $(call quote,$(ENVIRONMENT))

# The samples are looked for before anything is installed.
samples:
	@test -d $(call quote,$(or $(SAMPLES),studies/published/samples))/figures/avspeech_res || { \
		echo "s2f: $${S2F_PUBLISHED:-studies/published/samples} does not hold the published samples: set S2F_PUBLISHED to a clone of" \
			"https://github.com/speech2face/speech2face.github.io (studies/published/README.md)." >&2; exit 1; }
	@PYTHON=$(call quote,$(PYTHON)) UV=$(call quote,$(UV)) sh .ci/environment $(call quote,$(ENVIRONMENT)) published

lock:
	echo '# Exact versions for Python 3.11 and newer, solved from the ranges in pyproject.toml by: make lock' > $@.tmp
	uv pip compile --quiet --universal --python-version 3.11 --extra test --no-header --no-annotate pyproject.toml >> $@.tmp
	mv $@.tmp requirements.lock

clean:
	rm -rf scratch .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find s2f tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
