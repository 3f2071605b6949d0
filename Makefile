# Everything runs in .venv, made from requirements.lock on first use and reused until the lock changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help:  ## List the targets
	@awk -F':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.11" if sys.version_info[:2] not in ((3, 11), (3, 12)) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

.PHONY: run
# DATA: a folder of class folders; without it, a sample archive is made. METADATA: a CSV with lesion ids.
DATA        ?=
METADATA    ?=
RUN         ?= runs/$(if $(DATA),data,sample)
IMAGE_SIZE  ?= $(if $(DATA),128,64)
EPOCHS      ?= $(if $(DATA),30,20)
INPUT       := $(if $(DATA),$(DATA),$(RUN)/sample/images)
ARCHIVE     ?= $(if $(DATA),$(DATA),$(RUN)/sample/archive)
LESIONS     := $(if $(DATA),$(METADATA),$(RUN)/sample/metadata.csv)
# Real sets have classes that shrink to nothing once conflicts are rejected; a demonstration should go on.
PREPARE_ARGS ?= $(if $(DATA),--small_classes reject)
run: $(STAMP)  ## Prepare, train, evaluate, score: a sample, or DATA=folder [METADATA=lesions.csv]
ifeq ($(DATA),)
	$(PY) -m pipelines.demo.sample --output "$(RUN)"/sample --overwrite
endif
	$(PY) -m pipelines.prepare --input "$(INPUT)" $(if $(LESIONS),--metadata "$(LESIONS)") --output "$(RUN)"/dataset --image_size $(IMAGE_SIZE) $(PREPARE_ARGS) --overwrite
	$(PY) -m trainer.task --dataset "$(RUN)"/dataset --output "$(RUN)"/train --epochs $(EPOCHS) --overwrite
	$(PY) -m trainer.evaluate --dataset "$(RUN)"/dataset --model "$(RUN)"/train/model --output "$(RUN)"/evaluation --overwrite
	$(PY) -m pipelines.score --input "$(ARCHIVE)" --model "$(RUN)"/train/model --output "$(RUN)"/scores --run latest --report --overwrite
	@echo
	@$(PY) -m pipelines.demo.run_summary "$(RUN)"

# PROJECT, REGION, BUCKET: where it runs, and where its temporary files and its code lie. ARGS: the command's own
# options and any of Beam's. Worker defaults: pipelines/beam/dataflow.py.
DATAFLOW = --runner DataflowRunner --project "$(PROJECT)" --region "$(REGION)" --temp_location "gs://$(BUCKET)/temp" --staging_location "gs://$(BUCKET)/staging"
.PHONY: dataflow-options
dataflow-options:
	@:$(foreach name,PROJECT REGION BUCKET ARGS,$(if $($(name)),,$(error $(name) is missing: make dataflow-prepare PROJECT=my-project REGION=europe-west4 BUCKET=my-bucket ARGS="--input gs://... --output gs://..."; dataflow-score likewise)))

.PHONY: dataflow-prepare
dataflow-prepare: dataflow-options $(STAMP)  ## Prepare on Dataflow: PROJECT= REGION= BUCKET= ARGS="--input gs://... --output gs://..."
	$(PY) -m pipelines.prepare $(DATAFLOW) $(ARGS)

.PHONY: dataflow-score
dataflow-score: dataflow-options $(STAMP)  ## Score on Dataflow: PROJECT= REGION= BUCKET= ARGS="--input ... --model ... --output ..."
	$(PY) -m pipelines.score $(DATAFLOW) $(ARGS)

# CLASSES: the taxonomy's class set. PIXELS: how photographs become squares. PREPARE_ARGS: more for prepare; its --balance
# counts (none without it). RECIPE: how each network is trained. CHANGES: a file of changes to compare with it on CHANGE_FOLDS, such as
# trainer/config/changes.json. JOBS: folds trained at once. The same command continues an interrupted experiment.
EXPERIMENT ?= runs/experiment-$(if $(DATA),data,sample)
CLASSES    ?= isic9
PIXELS     ?= --image_size 192 --aspect stretch
RECIPE     ?= trainer/config/bespoke.json
CHANGES    ?=
CHANGE_FOLDS ?= 0
JOBS       ?= 1
CARD       ?= $(if $(DATA),docs,$(EXPERIMENT))/model_card.md
TABLE       = $(if $(DATA),$(METADATA),$(EXPERIMENT)/sample/metadata.csv)
FOLDS_ARGS  = --input "$(if $(DATA),$(DATA),$(EXPERIMENT)/sample/images)" --classes "$(CLASSES)" $(PIXELS) \
  --folds 5 --split_fractions 1,0,0 $(if $(TABLE),--metadata "$(TABLE)") $(PREPARE_ARGS) --overwrite
.PHONY: experiment
experiment: $(STAMP)  ## Cross-validate the recipe: a sample, or DATA=folder METADATA=lesions.csv [CLASSES=ham7] [CHANGES=file]
ifeq ($(DATA),)
	$(PY) -m pipelines.demo.sample --output "$(EXPERIMENT)"/sample --overwrite
endif
	$(PY) -m pipelines.prepare --balance none $(FOLDS_ARGS) --output "$(EXPERIMENT)"/folds
	$(if $(CHANGES),$(PY) -m pipelines.prepare $(FOLDS_ARGS) --output "$(EXPERIMENT)"/balanced)
	$(PY) -m trainer.experiment --dataset "$(EXPERIMENT)"/folds --recipe "$(RECIPE)" --output "$(EXPERIMENT)"/cross-validation \
	  --jobs "$(JOBS)" --card "$(CARD)" $(if $(TABLE),--metadata "$(TABLE)") $(if $(CHANGES),--changes "$(CHANGES)" --change_folds "$(CHANGE_FOLDS)" --balanced "$(EXPERIMENT)"/balanced)

.PHONY: train-2workers
train-2workers: $(STAMP)  ## Train on the sample with two local worker processes
	@test -f runs/sample/dataset/dataset.json || { \
	  $(PY) -m pipelines.demo.sample --output runs/sample/sample --overwrite && \
	  $(PY) -m pipelines.prepare --input runs/sample/sample/images --metadata runs/sample/sample/metadata.csv \
	    --output runs/sample/dataset --image_size 64 --overwrite; }
	$(PY) -m trainer.distribution.local_cluster --workers 2 -- --dataset runs/sample/dataset --output runs/train-2workers --epochs $(EPOCHS) --overwrite

# From Python 3.12 on the interpreter itself reports which lines run, at next to no cost; 3.11 has the slower way only.
COVERAGE_CORE = $(shell $(PY) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
.PHONY: test
test: $(STAMP)  ## Run the tests and measure their coverage; the longest are `make proofs`
	COVERAGE_CORE=$(COVERAGE_CORE) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not proof and not engines and not image" --cov

.PHONY: proofs
proofs: $(STAMP)  ## Run the tests that take long: faults of stores and machines, other runners, several workers
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m proof

# Two clusters at a time: Flink's, and those of the others one after the other (tests/engines/conftest.py).
ENGINES = $(PY) -m pytest -n 2 tests/engines
.PHONY: engines
engines: $(STAMP)  ## Run the jobs on real engines, started here (downloads 0.7 GB once; needs Java 17, Maven and Go)
	$(ENGINES) -m "engines and not engines_long"

.PHONY: engines-long
engines-long: $(STAMP)  ## Run what `make engines` leaves out: more faults, 5,000 images, other numbers of slots
	$(ENGINES) -m engines_long

.PHONY: image-check
image-check: $(STAMP)  ## Build the worker's image as a root file system and run prepare in it (as root; needs debootstrap and Go)
	$(PY) -m pytest -m image tests/engines

# Airflow pins much that this project pins otherwise: an environment of its own, made when it is first asked for.
AIRFLOW := .venv-airflow
$(AIRFLOW)/.installed: deploy/airflow/requirements.lock
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/airflow/requirements.lock
	@touch $@

.PHONY: test-airflow
test-airflow: $(STAMP) $(AIRFLOW)/.installed  ## Run the nightly DAG's tests in an Airflow (downloads 1.5 GB once)
	AIRFLOW_HOME="$(abspath $(AIRFLOW))/home" PROJECT_PYTHON="$(abspath $(PY))" $(AIRFLOW)/bin/python -m pytest --import-mode=prepend deploy/airflow

# What prepare is compared with needs packages that the project does not: an environment of its own, as above.
BENCH       := .venv-bench
BENCH_FILES ?= 100 400
BENCH_ARGS  ?=
$(BENCH)/.installed: benchmarks/requirements.txt requirements.lock
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

.PHONY: bench
bench: $(STAMP) $(BENCH)/.installed  ## Time prepare beside other ways: drawn images, or DATA=folder (downloads 1 GB once)
	$(PY) -m benchmarks.prepare $(if $(DATA),--images "$(DATA)") --count $(BENCH_FILES) $(BENCH_ARGS)

.PHONY: lint
lint: $(STAMP)  ## Check style, types and who imports whom
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

.PHONY: venv
venv: $(STAMP)  ## Create .venv from requirements.lock

UPGRADE ?=
.PHONY: lock
# For 3.11: what 3.12 needs is among it, in the same versions.
lock: $(STAMP)  ## Bring requirements.lock in line with setup.py; UPGRADE=1 takes the newest versions
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet $(if $(UPGRADE),--upgrade) --no-header --python-version 3.11 setup.py --all-extras -o requirements.lock
