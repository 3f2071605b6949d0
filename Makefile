# Everything runs in .venv: `make run` installs there what runs (requirements/train.lock), tests and checks what they need
# beside it (requirements/dev.lock), each on first use and again when its lock changes. UV= installs with pip though
# there is uv.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13; do $$each -c "" 2>&- && command -v $$each && exit; done; echo python3)
UV     ?= $(shell command -v uv)
VENV   := .venv
PY     := $(VENV)/bin/python
TO_RUN := $(VENV)/.installed-train
STAMP  := $(VENV)/.installed-dev

.DEFAULT_GOAL := help

.PHONY: help
help:  ## List the targets
	@awk -F':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# $(call install,ENVIRONMENT,LOCK,what is downloaded and how much space it takes). A lock is complete: nothing is resolved.
define install
@$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python3.11" if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
@echo "Installing $(2) into $(1): $(3)"
@$(PYTHON) -m venv $(1)
@$(if $(UV),$(UV) pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check) --no-deps --require-hashes -r $(2)
@touch $@
endef

$(TO_RUN): requirements/train.lock | data
	$(call install,$(VENV),$<,0.9 GB to download; 2.9 GB on disk; two minutes at 10 MB/s)

# Whatever runs is among it.
$(STAMP): requirements/dev.lock | data
	$(call install,$(VENV),$<,1 GB to download; 3.2 GB on disk; two minutes at 10 MB/s)
	@touch $(TO_RUN)

# Before anything is installed: DATA and METADATA can be read, as far as they are local and no patterns.
.PHONY: data
data:
	@for given in "$(DATA)" "$(METADATA)"; do \
	  case "$$given" in "" | *://* | *[*?[]*) continue ;; esac; \
	  path="$${given%%!*}"; test -e "$$path" || path="$${path#*=}"; \
	  test -e "$$path" || { echo "$$given: no such file or folder; DATA and METADATA name what is there" >&2; exit 2; }; \
	  test -r "$$path" && { test ! -d "$$path" || test -x "$$path"; } || { echo "$$given: may not be read; change its permissions, or name another" >&2; exit 2; }; \
	done

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
run: data $(TO_RUN)  ## Prepare, train, evaluate, score: a sample, or DATA=folder [METADATA=lesions.csv]
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
dataflow-prepare: dataflow-options $(TO_RUN)  ## Prepare on Dataflow: PROJECT= REGION= BUCKET= ARGS="--input gs://... --output gs://..."
	$(PY) -m pipelines.prepare $(DATAFLOW) $(ARGS)

.PHONY: dataflow-score
dataflow-score: dataflow-options $(TO_RUN)  ## Score on Dataflow: PROJECT= REGION= BUCKET= ARGS="--input ... --model ... --output ..."
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
experiment: data $(TO_RUN)  ## Cross-validate the recipe: a sample, or DATA=folder METADATA=lesions.csv [CLASSES=ham7] [CHANGES=file]
ifeq ($(DATA),)
	$(PY) -m pipelines.demo.sample --output "$(EXPERIMENT)"/sample --overwrite
endif
	$(PY) -m pipelines.prepare --balance none $(FOLDS_ARGS) --output "$(EXPERIMENT)"/folds
	$(if $(CHANGES),$(PY) -m pipelines.prepare $(FOLDS_ARGS) --output "$(EXPERIMENT)"/balanced)
	$(PY) -m trainer.experiment --dataset "$(EXPERIMENT)"/folds --recipe "$(RECIPE)" --output "$(EXPERIMENT)"/cross-validation \
	  --jobs "$(JOBS)" --card "$(CARD)" $(if $(TABLE),--metadata "$(TABLE)") $(if $(CHANGES),--changes "$(CHANGES)" --change_folds "$(CHANGE_FOLDS)" --balanced "$(EXPERIMENT)"/balanced)

.PHONY: train-2workers
train-2workers: $(TO_RUN)  ## Train on the sample with two local worker processes
	@test -f runs/sample/dataset/dataset.json || { \
	  $(PY) -m pipelines.demo.sample --output runs/sample/sample --overwrite && \
	  $(PY) -m pipelines.prepare --input runs/sample/sample/images --metadata runs/sample/sample/metadata.csv \
	    --output runs/sample/dataset --image_size 64 --overwrite; }
	$(PY) -m trainer.distribution.local_cluster --workers 2 -- --dataset runs/sample/dataset --output runs/train-2workers --epochs $(EPOCHS) --overwrite

# From Python 3.12 on the interpreter itself reports which lines run, at next to no cost; 3.11 has the slower way only.
# Not by the name of coverage's own variable, which make would pass on to every shell.
TRACER = $(shell $(PY) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
.PHONY: test
test: $(STAMP)  ## Run the tests and measure their coverage; the longest are `make proofs`
	COVERAGE_CORE=$(TRACER) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not proof and not engines and not image" --cov

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
	$(call install,$(AIRFLOW),$<,0.4 GB to download; 1.5 GB on disk)

.PHONY: test-airflow
test-airflow: $(STAMP) $(AIRFLOW)/.installed  ## Run the nightly DAG's tests in an Airflow (downloads 1.5 GB once)
	AIRFLOW_HOME="$(abspath $(AIRFLOW))/home" PROJECT_PYTHON="$(abspath $(PY))" $(AIRFLOW)/bin/python -m pytest --import-mode=prepend deploy/airflow

# What prepare is compared with needs packages that the project does not: an environment of its own, as above.
BENCH       := .venv-bench
BENCH_FILES ?= 100 400
BENCH_ARGS  ?=
$(BENCH)/.installed: benchmarks/requirements.lock
	$(call install,$(BENCH),$<,1 GB to download; 3 GB on disk)

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
venv: $(STAMP)  ## Create .venv from requirements/dev.lock

# What keeps locks, licences and releases needs packages of its own.
TOOLS := .venv-tools
$(TOOLS)/.installed: requirements/tools.lock
	$(call install,$(TOOLS),$<,30 MB to download)

UPGRADE ?=
# One resolution for all Pythons, with as few versions as can be. Where a lock exists, its pins stay as they are; so a part
# of dev.lock begins as its copy.
COMPILE  = $(TOOLS)/bin/uv pip compile --quiet --no-header --python-version 3.11 --universal --fork-strategy fewest --generate-hashes
NEWEST   = $(if $(UPGRADE),--upgrade)
TO_READ := --extra excel --extra hdf5 --extra s3
.PHONY: lock
lock: $(TOOLS)/.installed  ## Bring the locks in line with setup.py; UPGRADE=1 takes the newest versions
	$(COMPILE) $(NEWEST) setup.py --all-extras -o requirements/dev.lock
	@for part in pipelines train gpu; do cp requirements/dev.lock requirements/$$part.lock; done
	$(COMPILE) --no-annotate setup.py $(TO_READ) -o requirements/pipelines.lock
	$(COMPILE) --no-annotate setup.py $(TO_READ) --extra train -o requirements/train.lock
	$(COMPILE) --no-annotate requirements/gpu.txt -o requirements/gpu.lock
	$(COMPILE) $(NEWEST) --no-annotate requirements/tools.txt -o requirements/tools.lock
	$(COMPILE) $(NEWEST) --no-annotate deploy/airflow/requirements.txt -o deploy/airflow/requirements.lock
	$(COMPILE) $(NEWEST) --no-annotate benchmarks/requirements.txt -o benchmarks/requirements.lock

.PHONY: audit-dependencies
audit-dependencies: $(TOOLS)/.installed  ## Ask the package index for known vulnerabilities of all that the locks pin
	$(TOOLS)/bin/python -m deploy.release.audit requirements/dev.lock requirements/gpu.lock requirements/tools.lock \
	  deploy/airflow/requirements.lock benchmarks/requirements.lock

.PHONY: licences
licences: $(STAMP)  ## List the licences of what runs, in requirements/licences.csv
	$(PY) -m deploy.release.licences requirements/licences.csv

# Of what is committed, with the builder that is locked: the same commit gives the same wheel.
.PHONY: sbom
sbom: $(STAMP) $(TOOLS)/.installed  ## Build the wheel of this commit and its bill of materials (CycloneDX), in dist/
	rm -rf dist && mkdir -p dist/source
	git archive HEAD | tar -x -C dist/source
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/source
	rm -rf dist/source
	$(TOOLS)/bin/python -m deploy.release.bill_of_materials dist/*.whl $(PY)
