# On a fresh machine, two commands do everything: make book, make test.
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
# For small work, two processes of one thread are faster than one process of two threads. Waiting threads must not spin: that
# slows everything else on the machine.
export OMP_WAIT_POLICY ?= PASSIVE
# A grid, make reproduce and the live checks set these for their own runs. If a user exported one, it would change every run.
unexport NCLIB_ONLY NCLIB_RECORDS NCLIB_LIVE
TWO := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10
RELEASE := .venv/release/bin
GRID := .venv/grid/bin/snakemake -s workflow/Snakefile --profile workflow/profiles/$(PROFILE)

.PHONY: help book lab test rerun smoke grid reproduce processors evidence crate mutants links pdf benchmark lint package audit clean

help:
	@echo "make book       install, run the notebooks, build the site, print its path"
	@echo "make lab        install, open the notebooks in JupyterLab"
	@echo "make test       install, test the library, check every notebook with nbval"
	@echo "make rerun      NN=03 SCALE=lab DEVICE=cuda: one chapter at another scale, into _build/runs"
	@echo "make smoke      STUDY=fine_tuning FAKE=1: what paper scale lacks, one cell of each kind, and the hours it may take"
	@echo "make grid       SCALE=lab PROFILE=slurm: run every cell without a record, then build the book"
	@echo "make reproduce  compute demo records again, from scratch, and report what differs; one seed, or SEEDS=all"
	@echo "make processors measure how far results differ between processors, for the tolerances"
	@echo "make evidence   simulate how often intervals contain the truth, and the power of every claim"
	@echo "make crate      pack records and verdicts into an RO-Crate, with what they are and how they were made"
	@echo "make mutants    put small faults into the library, one at a time, and count those that its tests find"
	@echo "make links      check the book's external links"
	@echo "make pdf        print the book into one file, with chromium"
	@echo "make benchmark  compare time and memory with other code; KEEP=1 for the book, LIKE=\"AVX2\""
	@echo "make lint       run ruff and mypy, and check which module may import which"
	@echo "make package    build and check what a release holds: source distribution, wheel, list of parts; runs make audit"
	@echo "make audit      check the workflows of .github for security faults, with zizmor"
	@echo "make clean      remove what was built; keep records and the environment"

book: .venv/installed
	OMP_NUM_THREADS=1 $(MAKE) --jobs 2 $(EXECUTED)
	$(MAKE) _build/site
	@echo "The book: $(CURDIR)/_build/html/index.html"

# Its root is the checkout, so that the notebooks' links to book/ work.
lab: .venv/installed
	$(BIN)/jupyter-lab --ServerApp.root_dir=$(CURDIR) notebooks/00_score_card.ipynb

test: .venv/installed .venv/grid/installed .venv/crate/installed
	$(TWO) tests
	$(TWO) --nbval --nbval-sanitize-with tests/sanitize.cfg notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m workflow.live

rerun: .venv/installed
	$(BIN)/python -m workflow.execute notebooks/$(NN)_*.py -p scale=$(SCALE) -p device=$(DEVICE)

# The default is paper scale. FAKE=1 makes data of noise, because here there is nothing else to try it on.
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

crate: .venv/installed .venv/crate/installed
	@mkdir -p _build/crate
	$(BIN)/python -m workflow.crate describe > _build/crate/contents.json
	.venv/crate/bin/python -m workflow.crate write < _build/crate/contents.json

mutants: .venv/mutants/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m workflow.mutants --keep

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

# The release workflow runs this, and publishes what it builds.
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
	@$(BIN)/python -m pip uninstall -qq --yes nclib # another project, or ours before it was called nctransfer
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[book,test,dev,torchmetrics,peft,transformers,arrow,datasets]'
	@cp constraints.txt $@ # a test compares what is installed with it

# Snakemake needs different versions of some packages than the book.
.venv/grid/installed: workflow/requirements.txt .venv/installed
	$(PYTHON) -m venv .venv/grid
	.venv/grid/bin/python -m pip install --quiet -r workflow/requirements.txt
	@touch $@

# Only rocrate, and what it needs.
.venv/crate/installed: workflow/crate.txt constraints.txt .venv/installed
	$(PYTHON) -m venv .venv/crate
	.venv/crate/bin/python -m pip install --quiet -c constraints.txt -r workflow/crate.txt
	@touch $@

# mutmut needs other versions of some packages than the book, and ours to run the tests.
.venv/mutants/installed: workflow/mutants.txt .venv/installed
	$(PYTHON) -m venv .venv/mutants
	.venv/mutants/bin/python -m pip install --quiet -r workflow/mutants.txt
	@$(BIN)/python -c "import site; print(*site.getsitepackages())" > \
		"$$(.venv/mutants/bin/python -c 'import site; print(*site.getsitepackages())')/book.pth"
	@touch $@

# A separate environment, so that a release is built in a minute, by the listed tools only.
.venv/release/installed: .github/requirements.txt
	$(PYTHON) -m venv .venv/release
	$(RELEASE)/python -m pip install --quiet -r .github/requirements.txt
	@touch $@

# A notebook runs again when its source, the library or a record has changed.
_build/executed/%: notebooks/%.py $(LIBRARY) $(RECORDS) workflow/execute.py workflow/plain.py notebooks/jupytext.toml .venv/installed
	$(BIN)/python -m workflow.execute $<
	@mkdir -p $(@D) && touch $@

_build/site: $(EXECUTED) $(PAGES) $(wildcard workflow/*.py)
	$(BIN)/python -m workflow.pages
	$(BIN)/typer nclib.cli utils docs --name nclib --title "Commands" --output book/cli.md
	# If a page gave warnings, read it again the next time, so that they are not lost.
	$(BIN)/jupyter-book build . -W -n --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@touch $@
