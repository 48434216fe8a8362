#!/usr/bin/env python3
# t_setid.py: set*id in a process of several threads. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("setid")
