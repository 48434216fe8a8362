# Makefile: the commands one needs, over meson. SPDX-License-Identifier: Apache-2.0
#
#   make            build into build/
#   make demo       set up, build, and show what it is for
#   make check      set up, build, and run all tests (about 10 minutes on two cores)
#   make check-long also the tests that take hours
#   make bench      measure against native and qemu-riscv64
#   make bless      rewrite the expectations of tests from what they give now
#   make setup      install missing Debian packages and fetch riscv64 programs
#   make static     one static file, build-static/src/cli/isomer
#   make deb        a Debian package of it, build-static/isomer_*.deb
#   make lint, format, install, clean
#
# T=WORD limits check and bless to tests whose name contains it. JOBS=N (default 2).

BUILD  ?= build
ASAN   ?= build-asan
STATIC ?= build-static
JOBS   ?= 2
T      ?=

ISOMER = $(BUILD)/src/cli/isomer

.PHONY: all build build-asan static deb setup packages roots long-roots demo check check-long bench bless \
	lint format install clean

all: build

packages:
	@tools/setup.sh

roots: packages
	@tools/riscv-root.sh >/dev/null

# What only check-long needs, some gigabytes.
long-roots: packages
	@tools/riscv-root.sh --set long >/dev/null

setup: packages roots

$(BUILD)/build.ninja: | packages
	@meson setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

$(ASAN)/build.ninja: | packages
	@meson setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false >$(ASAN).log 2>&1 || \
	    { cat $(ASAN).log; exit 1; }
	@mv $(ASAN).log $(ASAN)/setup.log

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

build-asan: $(ASAN)/build.ninja
	@ninja -C $(ASAN) -j $(JOBS) --quiet

$(STATIC)/build.ninja: | packages
	@meson setup $(STATIC) -Dstatic=true >$(STATIC).log 2>&1 || { cat $(STATIC).log; exit 1; }
	@mv $(STATIC).log $(STATIC)/setup.log

static: $(STATIC)/build.ninja
	@ninja -C $(STATIC) -j $(JOBS) --quiet src/cli/isomer src/cli/isomer-riscv64 src/cli/isomer-disk \
	    src/cli/isomer.1 src/cli/isomer.bash

deb: static
	@tools/make-deb.sh --built $(STATIC) --output $(STATIC)

demo: setup build
	@tools/demo.sh $(ISOMER)

check: setup build build-asan static
	@tests/run --build $(BUILD) --asan $(ASAN) --jobs $(JOBS) $(T)

check-long: setup long-roots build build-asan static
	@tests/run --build $(BUILD) --asan $(ASAN) --jobs $(JOBS) --long $(T)

bench: setup build
	@bench/run --build $(BUILD)

bless: setup build
	@tests/run --build $(BUILD) --bless $(T)

lint:
	@tools/lint.py

format:
	@git ls-files 'src/*.[ch]' 'include/*.h' | xargs clang-format -i

install: build
	@meson install -C $(BUILD) --no-rebuild --quiet

clean:
	@rm -rf $(BUILD) $(ASAN) $(STATIC)
