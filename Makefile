# Everything is done by the Python packages golden, hw, sim and synth; this file strings them
# together by file dependencies, so that nothing is done twice.

PRESET ?= tiny
BLOCK ?=
BOARD ?= ulx3s-85f
STYLE ?= memory-on-logic
TIERS ?= 2
# Library of standard cells and its LEF; without them, the embedded cells.
LIBERTY ?=
LEF ?=
BOARDS := ulx3s-85f orangecrab-r0.2-85f ecpix5-85 icebreaker ice40-hx8k-evn
WAVES ?= 0
# Images that `make sim` classifies: the whole test split of tiny, 200 of any other preset.
IMAGES ?= $(if $(filter tiny,$(PRESET)),all,200)

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
FPGA_READY := $(VENV)/.fpga-ready
B := build/$(PRESET)
PRESET_FILE := presets/$(PRESET).toml
CHECKPOINT := checkpoints/$(PRESET).safetensors
GOLDEN := $(wildcard golden/*.py)
HW := $(wildcard hw/*.py)
SIM := $(wildcard sim/*.py sim/*.sv)
FPGA := $(wildcard synth/fpga/*.py)
ASIC := $(wildcard synth/asic/*.py) synth/yosys.py
# As synth.tiers calls what it builds: more than two tiers by their number.
STACK := $(STYLE)$(if $(filter-out 2,$(TIERS)),-$(TIERS))
LIMIT := $(if $(filter all,$(IMAGES)),,--images $(IMAGES))

PRESETS := $(sort $(patsubst presets/%.toml,%,$(wildcard presets/*.toml)))

ifeq ($(filter $(PRESET),$(PRESETS)),)
$(error no preset $(PRESET): known are $(PRESETS))
endif

# Read as text: before `make setup` there is no Python that could import the module.
STYLES := $(shell sed -nE 's/^(STYLES|FOLDED) = //p' synth/tiers/assign.py | tr -d '(),"')

ifneq ($(words $(STYLE)):$(filter $(STYLE),$(STYLES)),1:$(STYLE))
$(error no style $(STYLE): known are $(STYLES))
endif
ifeq ($(shell echo '$(TIERS)' | grep -cxE '[2-9]|[1-9][0-9]+'),0)
$(error TIERS is $(TIERS): must be a whole number, at least 2)
endif
$(foreach name,LIBERTY LEF,$(foreach file,$($(name)),$(if $(wildcard $(file)),,\
  $(error $(name) is $(file): there is no such file))))

# The stamp says for which library make had the netlist made: for the embedded one if there is none.
LIBRARY := $(strip $(LIBERTY) $(LEF))
LIBRARY_OPTIONS := $(if $(LIBERTY),--liberty $(LIBERTY)) $(addprefix --lef ,$(LEF))
LIBRARY_STAMP := $(B)/asic/made-for

export WAVES

.PHONY: all test verilog axi sim mapped fpga asic program tiers stacked train metrics lint clean help setup
.DELETE_ON_ERROR:

all: $(B)/golden.done $(B)/sim-$(IMAGES).done ## classify PRESET's test images on generated hardware
	@$(PY) -m golden metrics --preset $(PRESET)

help: ## this list
	@echo "make [TARGET] [PRESET=tiny|base|...] [BLOCK=name] [BOARD=name] [STYLE=name] [TIERS=n]"
	@echo "  [LIBERTY=file] [LEF='file ...'] [IMAGES=n|all] [WAVES=1]"
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' \
	  | awk -F'\t' '{printf "  %-9s %s\n", $$1, $$2}'
	@echo "presets: $(PRESETS)"
	@echo "boards: $(BOARDS)"
	@echo "styles: $(STYLES)"

setup: $(READY) ## virtual environment with pinned tools

test: $(READY) $(FPGA_READY) ## lint, all tests: fast ones first
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m pytest -m "not slow" -n 2
	$(PY) -m pytest -m slow -n 2

lint: $(READY) ## ruff alone
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

ifeq ($(BLOCK),)
verilog: $(B)/accelerator.v ## Verilog of PRESET, or of one BLOCK of it
sim: $(B)/sim-$(IMAGES).done ## simulate PRESET's accelerator, or all configurations of one BLOCK
else
verilog: $(READY)
	$(PY) -m hw verilog --preset $(PRESET) --block $(BLOCK)
sim: $(READY)
	$(PY) -m sim block $(BLOCK)
endif

# What the file is called depends on the board; while there is none, this names one that never is.
BITSTREAM := $(or $(wildcard $(B)/fpga/$(BOARD)/bitstream.*),$(B)/fpga/$(BOARD)/bitstream)

fpga: $(BITSTREAM) ## bitstream of PRESET for BOARD, its size, clock and critical path

# No build comes first: it would replace a bitstream that was built with another clock.
program: $(FPGA_READY) ## write the bitstream that was built last to BOARD
	$(PY) -m synth.fpga program --preset $(PRESET) --board $(BOARD)

axi: $(READY) ## PRESET with AXI ports: Verilog, register map, FuseSoC core; simulated and linted
	$(PY) -m hw axi --preset $(PRESET)
	$(PY) -m sim axi --preset $(PRESET)

mapped: $(READY) ## netlist of PRESET on ECP5: simulate it, and prove every block equal to its RTL
	$(PY) -m synth netlist --preset $(PRESET)
	$(PY) -m sim gates --preset $(PRESET) --record gatesim $(B)/synth/netlist/accelerator.v
	$(PY) -m synth equivalence --preset $(PRESET)

tiers: $(if $(wildcard $(CHECKPOINT)),$(B)/asic/activity.json,$(B)/asic/netlist.json) ## cut PRESET's netlist into tiers by STYLE, with figures and files of 3D flows
	$(PY) -m synth.tiers build --preset $(PRESET) --style $(STYLE) --tiers $(TIERS)

stacked: tiers ## prove the tiers of PRESET and STYLE equal to the flat netlist, and simulate them
	$(PY) -m synth.tiers prove --preset $(PRESET) --style $(STACK)
	$(PY) -m sim gates --preset $(PRESET) --record tiers.$(STACK).gatesim \
	  $(B)/tiers/$(STACK)/verilog/*.v $(B)/asic/cells.v

train: $(READY) ## train PRESET and write its checkpoint; resumes where it was stopped
	$(PY) -m golden train --preset $(PRESET)

metrics: $(READY) ## figures measured so far for PRESET
	@$(PY) -m golden metrics --preset $(PRESET)

asic: $(B)/asic/power.done ## standard cells: area, slack and power of PRESET

clean: ## remove everything built; keeps the virtual environment
	rm -rf build

# Training takes hours, so it starts by `make train` alone.
ifeq ($(wildcard $(CHECKPOINT)),)
$(CHECKPOINT):
	@if grep -q '^\[train\]' $(PRESET_FILE); \
	then echo "no $@: train it with \`make train PRESET=$(PRESET)\`"; \
	else echo "no $@: $(PRESET) has shapes only, no [train]; try \`make verilog PRESET=$(PRESET)\`"; \
	fi >&2; exit 1
endif

# Shape-only presets have no checkpoint; their widths come from the format.
$(B)/accelerator.v: $(READY) $(PRESET_FILE) $(wildcard $(CHECKPOINT)) $(GOLDEN) $(HW)
	$(PY) -m hw verilog --preset $(PRESET)

$(B)/golden.done: $(READY) $(PRESET_FILE) $(CHECKPOINT) $(GOLDEN)
	$(PY) -m golden evaluate --preset $(PRESET)
	@touch $@

# The checkpoint comes first: that it is missing shows before anything is built.
$(B)/sim-$(IMAGES).done: $(CHECKPOINT) $(B)/accelerator.v $(SIM)
	$(PY) -m sim run --preset $(PRESET) $(LIMIT)
	@touch $@

$(BITSTREAM): $(FPGA_READY) $(PRESET_FILE) $(wildcard $(CHECKPOINT)) $(GOLDEN) $(HW) $(FPGA)
	$(PY) -m synth.fpga build --preset $(PRESET) --board $(BOARD)

# Place and route come with the chips' data: 400 MB that nothing else needs.
$(FPGA_READY): $(READY)
	$(PY) -m pip install -q --disable-pip-version-check -e '.[fpga]'
	@touch $@

ifneq ($(LIBRARY),$(shell cat $(LIBRARY_STAMP) 2>/dev/null))
.PHONY: another-library
$(B)/asic/netlist.json: another-library
endif

$(B)/asic/netlist.json: $(READY) $(PRESET_FILE) $(wildcard $(CHECKPOINT)) $(GOLDEN) $(HW) $(ASIC) \
  $(LIBRARY)
	$(PY) -m synth.asic synth --preset $(PRESET) $(LIBRARY_OPTIONS)
	@echo $(LIBRARY) > $(LIBRARY_STAMP)

$(B)/asic/activity.json: $(CHECKPOINT) $(B)/asic/netlist.json $(SIM)
	$(PY) -m sim record --preset $(PRESET)
	$(PY) -m synth.asic activity --preset $(PRESET)

$(B)/asic/power.done: $(B)/asic/activity.json
	@scripts/system-packages sta=opensta
	$(PY) -m synth.asic power --preset $(PRESET)
	@touch $@

# What must come from the system: a C++ compiler, make, perl, and Python's venv and shared library.
$(READY): pyproject.toml
	@scripts/system-packages
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -e '.[dev]'
	# SpikingJelly asks for CUDA builds of torch and torchvision that nothing here uses.
	$(PY) -m pip install -q --disable-pip-version-check --no-deps spikingjelly==2.0.0
	@touch $@
