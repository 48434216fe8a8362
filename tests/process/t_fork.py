#!/usr/bin/env python3
# t_fork.py: fork, vfork, posix_spawn, clone, exec. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("fork")
