#!/usr/bin/env python3
# t_calls.py: system calls that translated code makes by itself. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("calls", [("small-cache", ["--cache-size=40K"], True),
                        ("small-cache-deopt", ["--cache-size=40K", "--test-deopt", "--seed=2"], True),
                        ("no-link", ["--no-link"], True)])
