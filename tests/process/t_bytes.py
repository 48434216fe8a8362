#!/usr/bin/env python3
# t_bytes.py: words loaded in bytes: faults at page ends, races. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("bytes")
