#!/usr/bin/env python3
# t_signal.py: signals: handlers, masks, stacks, faults. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("signal")
