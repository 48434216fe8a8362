#!/usr/bin/env python3
"""t_codecs.py: xz, zstd, gzip, bzip2, openssl: every byte as natively. SPDX-License-Identifier: Apache-2.0"""

import real

BIG = real.sample(300000)
FILES = {"big": BIG, "small": b"x", "empty": b"", "runs": bytes(5000) + b"ab" * 4000 + bytes(range(256))}
KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

PACKERS = {
    "xz": (["-0", "-3", "-6", "-9e", "--check=sha256", "--format=lzma", "-T2"], ".xz"),
    "zstd": (["-1", "-3", "-9", "-19", "--ultra -22", "--fast=5", "-T2", "--no-check"], ".zst"),
    "gzip": (["-n -1", "-n -6", "-n -9"], ".gz"),
    "bzip2": (["-1", "-9"], ".bz2"),
}
DIGESTS = ("md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 shake128 blake2b512 "
           "blake2s256 ripemd160 sm3").split()
CIPHERS = ("aes-128-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-128-cfb aes-256-ofb aes-256-ecb "
           "chacha20 camellia-256-cbc aria-256-ctr sm4-cbc des-ede3-cbc").split()


def packers():
    for program, (levels, suffix) in PACKERS.items():
        for level in levels:
            argv = [f"/usr/bin/{program}", "-k", *level.split(), "big", "runs", "small", "empty"]
            real.same(f"{program} {level}", argv, files=FILES)
            script = (f"{program} -kq {level} big runs && rm big runs && "
                      f"{program} -dq big{suffix} runs{suffix} && md5sum big runs")
            if level in (levels[0], levels[-1]):
                real.shell(f"{program} {level} and back", script, files=FILES)
    real.same("xz of rubbish", ["/usr/bin/xz", "-dc"], stdin=BIG, status=1)
    real.same("zstd of rubbish", ["/usr/bin/zstd", "-dc"], stdin=BIG, status=1)
    real.shell("xz -l", "xz -k big && xz -lv big.xz && xz -tv big.xz", files=FILES)


def openssl():
    def ssl(name, *argv, **more):
        real.same(f"openssl {name}", ["/usr/bin/openssl", *argv], files=FILES, **more)

    # The series: a security update may have reached the mirror for one machine only.
    real.shell("openssl version", "openssl version | cut -d. -f1-2")
    for digest in DIGESTS:
        length = ["-xoflen", "32"] if digest.startswith("shake") else []
        ssl(f"dgst {digest}", "dgst", f"-{digest}", *length, "big", "runs", "empty",
            status=None)
    ssl("hmac", "dgst", "-sha256", "-hmac", "key", "big")
    for cipher in CIPHERS:
        ssl(f"enc {cipher}", "enc", f"-{cipher}", "-e", "-K", KEY[:{"128": 32}.get(cipher[4:7], 64)],
            "-iv", KEY[:32], "-in", "big", "-out", "coded", status=None)
    ssl("enc and back", "enc", "-aes-256-cbc", "-pbkdf2", "-nosalt", "-pass", "pass:x", "-in", "big",
        "-a")
    ssl("kdf", "kdf", "-keylen", "32", "-kdfopt", "digest:SHA256", "-kdfopt", "pass:x", "-kdfopt",
        "salt:y", "-kdfopt", "iter:500", "PBKDF2")
    ssl("kdf scrypt", "kdf", "-keylen", "32", "-kdfopt", "pass:x", "-kdfopt", "salt:y", "-kdfopt",
        "n:256", "-kdfopt", "r:8", "-kdfopt", "p:1", "SCRYPT")
    ssl("prime", "prime", "170141183460469231731687303715884105727")
    # Keys are random, so what is compared is that they fit.
    real.shell("openssl rsa sign and verify",
               "openssl genrsa -out k 1024 2>/dev/null && openssl rsa -in k -pubout -out p 2>/dev/null "
               "&& openssl dgst -sha256 -sign k -out s big && openssl dgst -sha256 -verify p "
               "-signature s big; rm k p s", files=FILES)
    real.shell("openssl ed25519 sign and verify",
               "openssl genpkey -algorithm ed25519 -out k && openssl pkey -in k -pubout -out p && "
               "openssl pkeyutl -sign -rawin -inkey k -in runs -out s && openssl pkeyutl -verify "
               "-rawin -pubin -inkey p -sigfile s -in runs; rm k p s", files=FILES)
    real.shell("openssl ecdh agrees",
               "for n in a b; do openssl ecparam -name prime256v1 -genkey -noout -out $n; openssl ec "
               "-in $n -pubout -out $n.p 2>/dev/null; done; openssl pkeyutl -derive -inkey a -peerkey "
               "b.p -out x; openssl pkeyutl -derive -inkey b -peerkey a.p -out y; cmp x y && echo "
               "same; rm a* b* x y", files=dict())
    ssl("bad command", "frobnicate", status=1)


def main():
    real.require_roots()
    packers()
    openssl()


main()
