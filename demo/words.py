"""words.py: the demo's Python program. SPDX-License-Identifier: Apache-2.0"""

import collections
import hashlib
import json
import platform
import re

text = " ".join(hashlib.md5(str(i).encode()).hexdigest() for i in range(4000))
words = collections.Counter(re.findall(r"[a-f]{3,}", text))
print(f"Python {platform.python_version()} on {platform.machine()}")
print(json.dumps(words.most_common(4)))
print("2**4000 has", len(str(2**4000)), "digits")
