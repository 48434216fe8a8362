# Makefile: the commands one needs, over meson. SPDX-License-Identifier: Apache-2.0
#
#   make            build into build/
#   make demo       set up, build, and show what it is for
#   make check      set up, build, and run all tests (about 10 minutes on two cores)
#   make check-long also the tests that take hours
#   make bench      measure against native and qemu-riscv64
#   make bless      rewrite the expectations of tests from what they give now
#   make setup      install missing Debian packages and fetch riscv64 programs
#   make lint, format, install, clean
#
# T=WORD limits check and bless to tests whose name contains it. JOBS=N (default 2).

BUILD  ?= build
ASAN   ?= build-asan
JOBS   ?= 2
T      ?=

ISOMER = $(BUILD)/src/cli/isomer

.PHONY: all build build-asan setup packages roots demo check check-long bench bless lint format \
	install clean

all: build

packages:
	@tools/setup.sh

roots: packages
	@tools/riscv-root.sh >/dev/null

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

demo: setup build
	@tools/demo.sh $(ISOMER)

check: setup build build-asan
	@tests/run --build $(BUILD) --asan $(ASAN) --jobs $(JOBS) $(T)

check-long: setup build build-asan
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
	@rm -rf $(BUILD) $(ASAN)
