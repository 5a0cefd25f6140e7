# Each target makes what it needs. PYTHON chooses the interpreter the virtual environment is made from (3.11 or newer).
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
VENV := .venv
BIN := $(VENV)/bin
LOCK := envs/requirements-cpu.txt
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --resources dft=1 --rerun-triggers mtime params input code
export PYTHONPATH := workflow

.PHONY: help run plan unlock test test-slurm demo verify store lint bench bench-hessian bench-scatter bench-landau clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

run: $(VENV)/ready  ## compute the configured complexes, down to the report; goes on after a kill
	$(SNAKEMAKE) --rerun-incomplete
	@for page in results/*/report.html results/index.html; do echo "report: $$PWD/$$page"; done

plan: $(VENV)/ready  ## list the jobs of `make run` without running them
	$(SNAKEMAKE) --dry-run --quiet rules

unlock: $(VENV)/ready  ## after a run that was killed, before the next one
	$(SNAKEMAKE) --unlock

demo: $(VENV)/ready  ## formaldehyde, live, in a minute or two
	$(SNAKEMAKE) --configfile workflow/config/demo.yaml
	@echo "report: $$PWD/results/h2co/report.html"

test: $(VENV)/ready  ## the whole test suite, with a live run through the Snakefile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES) --dist loadfile --no-loadscope-reorder

test-slurm: $(VENV)/ready  ## formaldehyde through a real SLURM on this host (root; installs slurm-wlm and munge if it may)
	test -x /usr/sbin/slurmctld || apt-get install -y slurm-wlm munge
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/requirements-slurm.txt
	$(BIN)/python -m pytest -q tests/workflow/test_profiles.py -k slurm
	PATH="$$PATH:/usr/sbin" $(BIN)/python tests/slurm/run.py

verify: $(VENV)/ready  ## recompute energies, gradients and modes of the records
	$(SNAKEMAKE) --force --keep-incomplete --rerun-incomplete verify_reference

store: $(VENV)/ready  ## keep finished DFT stages as reference records
	$(SNAKEMAKE) --force store_reference

lint: $(VENV)/ready  ## format, style, types, workflow
	$(BIN)/ruff check workflow tests
	$(BIN)/ruff format --check workflow tests
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy workflow/spincross
	$(BIN)/snakemake --lint

bench: $(VENV)/ready  ## optimisation against the stock recipe, and what each measure buys (h2co)
	$(BIN)/python tests/bench_scf.py $(BENCH)

bench-hessian: $(VENV)/ready  ## derivatives of Coulomb and exchange in an analytic Hessian, against PySCF's (h2co)
	$(BIN)/python tests/bench_hessian.py $(BENCH)

bench-scatter: $(VENV)/ready  ## scatter on two cores, and the start-up of a job (nothing else should run)
	$(BIN)/python tests/bench_scatter.py $(BENCH)

bench-landau: $(VENV)/ready  ## median times of the Landau stage and of a phase diagram
	$(BIN)/python tests/bench_landau.py

$(VENV)/ready: $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r $(LOCK)
	@touch $@

clean:  ## remove results; work folders, records and the virtual environment stay
	rm -rf results/*/ results/*.html results/*.tsv results/*.json results/*.log
