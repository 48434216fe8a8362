#!/usr/bin/env python3
# t_thread.py: threads, futexes, cancellation, robust mutexes. SPDX-License-Identifier: Apache-2.0
import pc_twins

pc_twins.main("thread")
