#!/usr/bin/env python3
# t_nans.py: NaNs and exception flags in hot loops. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("nans", [
    ("sync", ["--tier2=sync"], True),
    ("always, no AVX-512", ["--tier2=always", "--cpu-features=-avx512"], True),
    ("always, no AVX", ["--tier2=always", "--cpu-features=-avx"], True),
    ("always, forced exits", ["--tier2=always", "--test-deopt", "--seed=2"], True),
    ("always, lockstep", ["--tier2=always", "--lockstep"], True),
    ("always, random registers", ["--tier2=always", "--test-ra", "--seed=3"], True),
])
