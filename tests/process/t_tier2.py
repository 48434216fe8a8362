#!/usr/bin/env python3
# t_tier2.py: hot code that changes, forks, is interrupted. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("tier2")
