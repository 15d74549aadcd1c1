# Two commands do everything on a fresh machine: make book, make test.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(sort $(wildcard notebooks/*.py))
EXECUTED := $(SOURCES:notebooks/%.py=_build/executed/%)
LIBRARY := $(shell find nclib -name '*.py')
RECORDS := $(wildcard book/records/*.jsonl) book/processors.csv
PAGES := $(shell find book -type f ! -name '*.lock') _config.yml _toc.yml

SCALE ?= lab
DEVICE ?= auto
PROFILE ?= local
SEEDS ?= one
# Two processes of one thread do small work faster than one of two threads. Waiting threads must not spin, which slows
# everything else on the machine.
export OMP_WAIT_POLICY ?= PASSIVE
# What a grid, make reproduce and the live checks tell their own runs; exported by a user, it would change every run.
unexport NCLIB_ONLY NCLIB_RECORDS NCLIB_LIVE
TWO := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10
RELEASE := .venv/release/bin
GRID := .venv/grid/bin/snakemake -s workflow/Snakefile --profile workflow/profiles/$(PROFILE)

.PHONY: help book test rerun smoke grid reproduce processors evidence links pdf benchmark lint package audit clean

help:
	@echo "make book       install, run the notebooks, build the site, print its path"
	@echo "make test       install, test the library, check every notebook with nbval"
	@echo "make rerun      NN=03 SCALE=lab DEVICE=cuda: one chapter at another scale, into _build/runs"
	@echo "make smoke      STUDY=fine_tuning FAKE=1: what paper scale lacks, a cell of each kind of it, and the hours it may take"
	@echo "make grid       SCALE=lab PROFILE=slurm: every cell without a record, each a run of its chapter, then the book"
	@echo "make reproduce  compute demo records again, from nothing, and report what differs: one seed, or SEEDS=all"
	@echo "make processors measure what other processors would find, for the tolerances"
	@echo "make evidence   simulate how often intervals hold the truth, and the power of every claim"
	@echo "make links      check the book's links to elsewhere"
	@echo "make pdf        the book as one file to print, by chromium"
	@echo "make benchmark  time and memory against other code, as ratios; KEEP=1 for the book, LIKE=\"AVX2\""
	@echo "make lint       ruff, mypy, and who may import whom"
	@echo "make package    what a release is: source distribution, wheel and their parts, checked; with make audit"
	@echo "make audit      what the workflows of .github could give away, by zizmor"
	@echo "make clean      remove what was built (records and the environment stay)"

book: .venv/installed
	OMP_NUM_THREADS=1 $(MAKE) --jobs 2 $(EXECUTED)
	$(MAKE) _build/site
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: .venv/installed .venv/grid/installed
	$(TWO) tests
	$(TWO) --nbval --nbval-sanitize-with tests/sanitize.cfg notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m workflow.live

rerun: .venv/installed
	$(BIN)/python workflow/execute.py notebooks/$(NN)_*.py -p scale=$(SCALE) -p device=$(DEVICE)

# Of paper scale, unless make is told another; FAKE=1 makes data of noise, for there is nothing else to try it on.
smoke: SCALE = paper
smoke: .venv/installed
	$(BIN)/python -m workflow.smoke --scale $(SCALE) --device $(DEVICE) $(STUDY:%=--study %) $(IMPORTS:%=--imports %) \
		$(if $(FAKE),--fake)

grid: .venv/installed .venv/grid/installed
	$(GRID) --config scale=$(SCALE)
	$(MAKE) book

reproduce: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m workflow.reproduce --seeds $(SEEDS) $(if $(LIKE),--like "$(LIKE)") \
		$(if $(KEEP),--keep)

processors: .venv/installed
	$(BIN)/python -m workflow.processors

evidence: .venv/installed
	$(BIN)/python -m workflow.coverage
	$(BIN)/python -m workflow.power

links: .venv/installed
	$(BIN)/python -m workflow.pages status_table
	$(BIN)/jupyter-book build . --builder linkcheck -W --keep-going

pdf: book
	$(BIN)/python workflow/pdf.py

benchmark: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks $(if $(LIKE),--like "$(LIKE)") $(if $(ONLY),--only "$(ONLY)") $(if $(KEEP),--keep)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# As the workflow of a release does, which publishes what is built here.
package: audit
	rm -rf _build/dist _build/sbom && mkdir -p _build/sbom
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(RELEASE)/python -m build --outdir _build/dist
	$(RELEASE)/twine check --strict _build/dist/*
	$(RELEASE)/cyclonedx-py requirements constraints.txt --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-file _build/sbom/$$(basename _build/dist/*.whl .whl).cdx.json

audit: .venv/release/installed
	$(RELEASE)/zizmor --quiet --strict-collection .github

clean:
	rm -rf _build

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip uninstall -qq --yes nclib # another project's, or ours before it was called nctransfer
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[book,test,dev,torchmetrics,peft,transformers,arrow,datasets]'
	@cp constraints.txt $@ # a test compares what is installed with it

# Snakemake wants other versions of some packages than the book.
.venv/grid/installed: workflow/requirements.txt .venv/installed
	$(PYTHON) -m venv .venv/grid
	.venv/grid/bin/python -m pip install --quiet -r workflow/requirements.txt
	@touch $@

# Apart from the rest, so that a release is built in a minute, and by nothing else than what is named.
.venv/release/installed: .github/requirements.txt
	$(PYTHON) -m venv .venv/release
	$(RELEASE)/python -m pip install --quiet -r .github/requirements.txt
	@touch $@

# A notebook runs again when its source, the library or a record has changed.
_build/executed/%: notebooks/%.py $(LIBRARY) $(RECORDS) workflow/execute.py notebooks/jupytext.toml .venv/installed
	$(BIN)/python workflow/execute.py $<
	@mkdir -p $(@D) && touch $@

_build/site: $(EXECUTED) $(PAGES) $(wildcard workflow/*.py)
	$(BIN)/python -m workflow.pages
	$(BIN)/typer nclib.cli utils docs --name nclib --title "Commands" --output book/cli.md
	# What was read with warnings is read again the next time, so that they are not lost.
	$(BIN)/jupyter-book build . -W -n --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@touch $@
