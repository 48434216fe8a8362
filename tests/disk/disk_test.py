"""disk_test.py: what the tests of `isomer disk` share. SPDX-License-Identifier: Apache-2.0"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import traceback

ISOMER = os.environ["ISOMER"]
LIMIT = 120  # seconds for one command


def run(*argv, data=None, limit=LIMIT):
    """Runs a command; returns status, standard output, standard error."""
    done = subprocess.run([str(a) for a in argv], input=data, capture_output=True, timeout=limit)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def disk(*argv, **more):
    return run(ISOMER, "disk", *argv, **more)


def must(*argv, **more):
    """isomer disk, which must succeed; returns its output as text."""
    status, out, err = disk(*argv, **more)
    assert status == 0, f"disk {' '.join(map(str, argv))}: status {status}: {err.strip()}"
    return out.decode()


def must_json(*argv):
    return json.loads(must(*argv, "--json"))


def peer(*argv, **more):
    """Another program, which must succeed."""
    status, out, err = run(*argv, **more)
    assert status == 0, f"{' '.join(map(str, argv))}: status {status}: {(err or out.decode()).strip()[:300]}"
    return out.decode(errors="replace")


def fails(status, words, *argv, **more):
    """isomer disk must fail with that status and exactly one line that has the words."""
    got, _, err = disk(*argv, **more)
    lines = err.strip().split("\n")
    assert got == status, f"{argv}: status {got}, not {status}: {err.strip()[:200]}"
    assert len(lines) == 1 and lines[0].startswith("isomer: "), f"{argv}: not one line: {err!r}"
    assert words in lines[0], f"{argv}: nothing like '{words}' in: {lines[0]}"


def content(size, seed=1, holes=3):
    """Bytes like a disk's: random, text and zeros in runs, mostly aligned."""
    rng = random.Random(seed)
    data = bytearray(size)
    for _ in range(max(4, size >> 17)):
        at = rng.randrange(0, size, 512)
        length = min(size - at, rng.choice([512, 4096, 65536, 100000]))
        kind = rng.randrange(holes)
        if kind == 0:
            data[at:at + length] = rng.randbytes(length)
        elif kind == 1:
            data[at:at + length] = (b"the quick brown fox %d " % at * (length // 20 + 1))[:length]
        else:
            data[at:at + length] = bytes(length)
    return bytes(data)


def write_file(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def has(program):
    return shutil.which(program) is not None


class Server:
    """isomer disk serve in the background."""

    def __init__(self, *argv):
        self.process = subprocess.Popen([ISOMER, "disk", "serve", *map(str, argv)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.uri = self.process.stdout.readline().decode().strip()
        if not self.uri:
            raise AssertionError(self.process.stderr.read().decode().strip())

    def __enter__(self):
        return self

    def stop(self):
        """Ends it as a service manager does; returns its status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "did not end"

    def __exit__(self, *_):
        status = self.stop()
        if sys.exc_info()[0] is None:
            assert status == 0, f"the server ended with status {status}"


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def main(scope):
    """Runs every function case_NAME of a test; prints one line for each. Returns exit status."""
    for name, fn in list(scope.items()):
        if not name.startswith("case_"):
            continue
        text = name[5:].replace("_", " ")
        folder = os.path.join(os.getcwd(), name)
        os.mkdir(folder)
        os.chdir(folder)
        try:
            skip = fn()
            print(f"skip - {text}: {skip}" if skip else f"ok - {text}")
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
            if not isinstance(error, AssertionError):
                traceback.print_exc(file=sys.stdout)
            print(f"not ok - {text}: {str(error) or type(error).__name__}".replace("\n", " "))
        finally:
            os.chdir("..")
            shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.flush()
    return 0
