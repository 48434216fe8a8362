#!/usr/bin/env python3
# t_strip.py: string loops: faults at page ends, overlaps, signals. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("strip")
