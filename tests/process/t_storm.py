#!/usr/bin/env python3
# t_storm.py: signals, faults, forks, threads and changing code at once.
# SPDX-License-Identifier: Apache-2.0
"""The seed is printed; STORM_SEED repeats it."""

import os
import time

import pc_twins

os.environ.setdefault("STORM_SEED", str(time.time_ns() % 1000000))
print(f"STORM_SEED={os.environ['STORM_SEED']}")
pc_twins.main("storm")
