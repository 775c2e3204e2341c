# make taste        a few logs, what disappointed their users, and what a small model writes instead:
#                   two minutes once the environments are built
# make check-logs   LOGS=FILE: what a run would read in your logs, what it drops and why
# make demo         the whole pipeline on a laptop: two CPU cores, a small chat model, simulated users
# make study        DRIFT, SPIN and IterDPO over five iterations: hours; then docs/study.md's figures
# make test         unit tests, and the whole DAG end to end on a tiny model
# make test-slurm   the pipeline on a Slurm of its own, and through its faults
# make test-gpu     generate and train on a GPU, with their speed and memory (a CUDA build of torch)
# make lint         snakefmt and ruff (snakemake --lint is among the tests)
# make schema       config.schema.json, for editors, from the classes of the configuration
# make docs         docs/configuration.md, from the same
#
# make plan         what the run of CONFIG takes on MACHINE: jobs, GPU memory and hours, disk, bills
# make why          what `snakemake --profile slurm` would do, and why (PROFILE=demo: another profile)
# make status       what runs in results/ have done, do and wait for; what failed, and its log
# make prune        list the weights that nothing needs any more; make prune YES=1 deletes them
#
# Programs on finished runs (each has --help):
#   .venv/cpu/bin/python tools/compare.py   two runs: settings that differ, scores side by side
#   .venv/cpu/bin/python tools/chat.py      talk to policies side by side, or serve them
#   .venv/cpu/bin/python tools/export.py    a policy as a folder for others, with a model card
#
# make envs         the two environments that demo and test need (which call this themselves)
# make envs-gpu     the environment of the stages that use a GPU
# make prepare      fetch vLLM's kernels that a node would compile at its first start
# make image-gpu    the GPU environment as one file, .venv/gpu.squashfs, and .venv/gpu.image, which runs its Python
# make locks        resolve envs/*.in into envs/*.lock again
# make hashes       the hashes of the locked versions' files, in the locks
#
# make bench-generate, bench-train   the two heavy stages against the released code, on this machine
# make bench-carry      five small iterations whose updates add up in fp32, and get lost in bf16
# make bench-data       a million raw conversations to pools, against datasets map/filter (10 GB of disk)
# make bench-pairs      lengths of pairs with and without one token limit for both sides
# make bench-contamination   how many of the PROMPTS of a benchmark decontamination finds in disguise
# make bench-scores     the scores of 10 policies on WildBench and AlpacaEval at full size
# make bench-checks     2,000 answers with three checks each, and those of IFEval (TASKS=its task file)
# make bench-exploration MODEL=FOLDER   8,000 answers embedded by an encoder, such as all-MiniLM-L6-v2, and mapped
# make bench-endpoint   2,000 requests, 64 in flight, to a server that takes 200 ms for each
# make bench-slurm      what Slurm jobs cost

PYTHON ?= python3.11
# A CPU build of torch is a tenth of the CUDA build's size, and PyPI has only the latter. If this
# index cannot be reached, pip prints a warning and takes PyPI's build, which runs on a CPU as well.
# The two builds are different files of one version, and the locks have hashes of PyPI's. So torch
# is installed first and by its version; pip trusts what is installed already.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
SNAKEMAKE = .venv/snakemake/bin/snakemake
STAGE_PYTHON = .venv/cpu/bin/python
PIP_INSTALL = bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes

PROFILE ?= slurm

# Of `make plan`.
CONFIG ?= config.yaml
MACHINE ?= h100-80
PLAN_OPTIONS ?= --gpus 8
# The environment of `make test-gpu`.
GPU_PYTHON ?= .venv/gpu/bin/python

.PHONY: help taste check-logs status demo study test test-slurm test-gpu slurm-packages lint schema docs why prune plan bench-data bench-pairs \
	bench-contamination bench-scores bench-checks bench-exploration bench-endpoint bench-generate bench-train bench-carry bench-slurm envs envs-gpu \
	prepare image-cpu image-gpu locks hashes

# What stands at the top of this file.
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

TASTED = smollm2-135m/drift-unguided/seed42/iter1
taste: envs
	$(SNAKEMAKE) --profile local --configfile examples/taste.yaml -- results/taste/$(TASTED)/completions/1-of-1.parquet
	$(STAGE_PYTHON) tools/taste.py results/taste/$(TASTED) --page results/taste/taste.html

check-logs: .venv/cpu/installed
	@$(STAGE_PYTHON) tools/check_logs.py $(or $(LOGS),$(error say which: make check-logs LOGS=chats.jsonl))

demo: envs
	$(SNAKEMAKE) --profile demo

# A method that runs out of pairs ends there; the tables are made of what is finished. Stages that
# use one core each leave the other one to another method.
STUDY_THREADS = sample=1 respond=1 answer_users=1 rewards=1 pair_scores=1 train=1
study: envs
	-$(SNAKEMAKE) --profile demo --configfile examples/study.yaml --keep-going --set-threads $(STUDY_THREADS) \
		--set-resources train:mem_mb=7000 rewards:mem_mb=1000 pair_scores:mem_mb=1000 \
		-- $$($(STAGE_PYTHON) tools/study.py --targets)
	$(STAGE_PYTHON) tools/study.py

status: .venv/snakemake/installed
	@.venv/snakemake/bin/python tools/status.py

test: envs lint
	$(STAGE_PYTHON) -m pytest tests --ignore tests/slurm --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 15

# Installed in containers alone: under systemd the packages would start a database and a Slurm of
# their own. Where they are missing, the tests are skipped with that reason.
SLURM_PACKAGES = munge slurmctld slurmd slurm-client slurmdbd slurm-wlm-mysql-plugin mariadb-server squashfs-tools squashfuse
# The first test has a cluster to start and a run to make: eleven minutes without bf16.
test-slurm: envs slurm-packages
	$(STAGE_PYTHON) -m pytest tests/slurm --timeout 1800

bench-slurm: envs slurm-packages
	$(STAGE_PYTHON) -m tests.slurm.bench

slurm-packages:
	@if [ "$$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get > /dev/null && ! dpkg -s $(SLURM_PACKAGES) > /dev/null 2>&1; then \
		mkdir -p .venv; (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM_PACKAGES)) \
			> .venv/packages.log 2>&1 || echo "the packages of Slurm and squashfs could not be installed (log: .venv/packages.log)"; \
	fi

bench-scores: .venv/cpu/installed
	$(STAGE_PYTHON) tests/bench_scores.py

bench-checks: .venv/cpu/installed
	$(STAGE_PYTHON) perf/check_rates.py $(TASKS)

bench-exploration: .venv/cpu/installed
	$(STAGE_PYTHON) perf/exploration_rates.py $(or $(MODEL),$(error say which encoder: make bench-exploration MODEL=/data/models/all-MiniLM-L6-v2))

bench-endpoint: .venv/cpu/installed
	$(STAGE_PYTHON) perf/endpoint_rates.py

test-gpu:
	$(GPU_PYTHON) -m pytest tests/gpu -s

plan: .venv/snakemake/installed
	.venv/snakemake/bin/python tools/plan.py --configfile $(CONFIG) --machine $(MACHINE) $(PLAN_OPTIONS)

BENCH = results/bench/smollm2-135m
# Which of how many parts of the prompts of `make bench-generate`.
SHARD ?= 1 4
bench-generate bench-train bench-carry bench-data bench-slurm: export PYTHONPATH = scripts

bench-generate: envs
	$(SNAKEMAKE) --profile demo --configfile perf/run.yaml -- $(BENCH)/drift/seed42/iter1/requests.parquet
	$(STAGE_PYTHON) perf/generate_rates.py --shard $(SHARD)

bench-train: envs
	$(SNAKEMAKE) --profile demo --configfile perf/run.yaml -- $(BENCH)/warmup/pairs.parquet
	$(STAGE_PYTHON) perf/train_rates.py
	$(STAGE_PYTHON) perf/same_gradient.py

bench-carry: envs
	$(SNAKEMAKE) --profile demo --configfile perf/run.yaml -- $(BENCH)/warmup/pairs.parquet
	$(STAGE_PYTHON) perf/carried_updates.py

docs: .venv/snakemake/installed
	PYTHONPATH=scripts .venv/snakemake/bin/python -m drift.config --markdown > docs/configuration.md

schema: .venv/snakemake/installed
	PYTHONPATH=scripts .venv/snakemake/bin/python -m drift.config > config.schema.json

lint: envs
	.venv/snakemake/bin/ruff check .
	.venv/snakemake/bin/ruff format --check .
	.venv/snakemake/bin/snakefmt --check Snakefile rules

why: envs
	.venv/snakemake/bin/python tools/why.py --profile $(PROFILE)

prune: envs
	.venv/snakemake/bin/python tools/prune.py --profile $(PROFILE) $(if $(YES),--delete)

bench-pairs: envs
	$(SNAKEMAKE) --profile demo --configfile perf/pairs.yaml -- \
		$(foreach method,drift drift-unguided spin,results/bench-pairs/smollm2-135m/$(method)/seed42/iter1/pairs.parquet)
	$(STAGE_PYTHON) perf/pair_lengths.py perf/pairs.yaml

bench-data: envs
	$(STAGE_PYTHON) perf/data_rates.py

# A file of the benchmark's tasks, such as alpaca_eval_gpt4_baseline.json.
bench-contamination: envs
	$(STAGE_PYTHON) perf/contamination_rates.py $(PROMPTS)

envs: .venv/snakemake/installed .venv/cpu/installed

envs-gpu: .venv/gpu/installed

# What pip prints goes to a log. `installed`, a copy of the lock, is written last: an installation
# that was interrupted starts again. One whose lock only looks newer, as after a visit to another
# branch, does not: jobs may be running in it.
define BUILD
	@cmp -s $< $@ || { \
		command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not there: install Python 3.11, or name yours: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
		mkdir -p .venv && echo "building .venv/$(1) ($(2); log: .venv/$(1).log)"; \
		{ $(PYTHON) -m venv --clear .venv/$(1) && $(3); } > .venv/$(1).log 2>&1 \
			|| { tail -n 20 .venv/$(1).log; echo "error: .venv/$(1) could not be built; the whole log: .venv/$(1).log" >&2; exit 1; }; }
	@cp $< $@
endef

.venv/snakemake/installed: envs/snakemake.lock
	$(call BUILD,snakemake,half a minute,.venv/snakemake/$(PIP_INSTALL) -r envs/snakemake.lock)

.venv/cpu/installed: envs/cpu.lock
	$(call BUILD,cpu,some minutes and 4 GB,.venv/cpu/bin/python -m pip install --disable-pip-version-check --retries 1 \
		--extra-index-url $(TORCH_INDEX) $$(grep -o '^torch==[0-9.]*' envs/cpu.lock) && .venv/cpu/$(PIP_INSTALL) -r envs/cpu.lock)

.venv/gpu/installed: envs/gpu.lock
	$(call BUILD,gpu,some minutes and 10 GB,.venv/gpu/$(PIP_INSTALL) -r envs/gpu.lock)
	.venv/gpu/bin/python tools/check_gpu_environment.py || (rm $@; exit 1)

# Beside the lock, and before an image is made: FlashInfer's own index has them.
prepare: .venv/gpu/installed
	.venv/gpu/bin/vllm download-kernels

# An environment as one file: parallel file systems are slow with many small ones, and count them.
image-cpu image-gpu: image-%: .venv/%.squashfs
	printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$(CURDIR)/envs/python-of-image" "$(CURDIR)/.venv/$*" > .venv/$*.image
	chmod +x .venv/$*.image

.venv/%.squashfs: .venv/%/installed
	mksquashfs .venv/$* $@ -noappend -quiet -no-progress -comp zstd -Xcompression-level 3

UV_COMPILE = .venv/uv/bin/uv pip compile --quiet --python-version 3.11 --no-emit-index-url --custom-compile-command 'make locks'
.venv/uv/bin/uv:
	$(PYTHON) -m venv --clear .venv/uv
	.venv/uv/bin/python -m pip install --quiet uv

locks: .venv/uv/bin/uv
	$(UV_COMPILE) envs/snakemake.in --output-file envs/snakemake.lock
	$(UV_COMPILE) envs/gpu.in --override envs/stages.overrides.txt --output-file envs/gpu.lock
	$(UV_COMPILE) envs/cpu.in --override envs/stages.overrides.txt --override envs/cpu.overrides.txt --index-strategy unsafe-best-match \
		--extra-index-url $(TORCH_INDEX) --output-file envs/cpu.lock
	sed -i 's/^torch==\([^+]*\)+cpu/torch==\1/' envs/cpu.lock
	$(MAKE) hashes

hashes: .venv/uv/bin/uv
	$(PYTHON) tools/lock_hashes.py --uv .venv/uv/bin/uv envs/snakemake.lock envs/gpu.lock envs/cpu.lock
