#!/usr/bin/env python3
# t_storm.py: signals, faults, forks and threads at once. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("storm")
