#!/bin/bash
# primes.sh: the demo's shell script. SPDX-License-Identifier: Apache-2.0
echo "bash $BASH_VERSION on $(uname -m)"
count=0
for ((n = 2; n < 1500; n++)); do
    for ((d = 2; d * d <= n; d++)); do
        ((n % d == 0)) && continue 2
    done
    primes+=($n)
    ((++count))
done
echo "$count primes below 1500, the last of them:" "${primes[@]: -5}"
printf '%s\n' "${primes[@]}" | awk '{ sum += $1 } END { print "their sum is", sum }'
for word in one two three four five; do
    echo "$word" | tr a-z A-Z | rev
done | sort | paste -s -d' '
