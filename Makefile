# SPDX-License-Identifier: BSD-3-Clause
# A thin front to meson and the scripts. `make help` lists what there is.

# meson runs on Debian's python3, which a python of the user's own may hide.
export PATH := /usr/bin:/bin:$(PATH)

BUILD := build
# Options for `make demo`: make demo DEMO_ARGS="--ram 1G --devices 4"
DEMO_ARGS ?=
# DEPS=no leaves the packages alone.
DEPS ?= yes
DESTDIR ?=
PREFIX ?= /usr/local

.PHONY: all
all: $(BUILD)/build.ninja ## compile into build/
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "no meson here: make deps" >&2; exit 1; }
	meson setup --prefix $(PREFIX) $(BUILD)

.PHONY: deps
deps: ## install the Debian packages for everything below (as root or through sudo)
	scripts/deps test

.PHONY: deps-build
deps-build:
	@[ "$(DEPS)" = no ] || scripts/deps build

.PHONY: demo
demo: deps-build ## move a virtual machine, or a workload, with two devices between two processes and verify it
	+@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet cmd/vfio-migrate $(if $(filter x86_64,$(shell uname -m)),vmm/vfio-vmm)
	$(BUILD)/cmd/vfio-migrate demo $(DEMO_ARGS)

.PHONY: test
test: ## install what is needed and run every test, sanitizers and the kernel rig included
	@[ "$(DEPS)" = no ] || scripts/deps test
	scripts/test

.PHONY: bench
bench: deps-build ## how fast it is, as ratios to what this machine can do (JSON)
	+@$(MAKE) --no-print-directory all
	meson test -C $(BUILD) --benchmark --no-rebuild --verbose

SECONDS ?= 60
.PHONY: fuzz
fuzz: ## feed damaged bytes to every parser, SECONDS=60 for each
	@[ "$(DEPS)" = no ] || scripts/deps test
	scripts/fuzz $(SECONDS)

.PHONY: soak
soak: deps-build ## flip bits, fail calls, move workloads of all kinds for SECONDS=60
	+@$(MAKE) --no-print-directory all
	scripts/soak $(SECONDS)

.PHONY: kernel-test
kernel-test: all ## only the tests on real kernels, in emulated machines
	scripts/rig/test --build $(BUILD)

# Which one kernel-shell boots: rig, debug or debian.
KERNEL := rig
.PHONY: kernel-shell
kernel-shell: all ## a shell on such a kernel (KERNEL=rig, debug or debian)
	scripts/rig/shell --kernel $(KERNEL)

# Headers of the kernel that the module is for, and where vfio_migrate_refdev.ko comes to be.
KDIR ?= /lib/modules/$(shell uname -r)/build
KMOD_BUILD ?= $(BUILD)/kmod
.PHONY: kmod
kmod: ## the reference device as a kernel module: KDIR=headers, KMOD_BUILD=folder (refdev/kernel/README.md)
	scripts/build-kmod $(KDIR) $(KMOD_BUILD)

.PHONY: install
install: $(BUILD)/build.ninja ## install under PREFIX (default /usr/local; DESTDIR is honoured)
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	ninja -C $(BUILD)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

.PHONY: clean
clean: ## remove every build folder
	rm -rf build build-*

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16
