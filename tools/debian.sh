# debian.sh: what the scripts that fetch from Debian share: the release, its mirrors, apt with lists and
# cache of its own. Sourced. SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034 # used by who sources it

suite=trixie
# What archives call it as well: a mirror may have caught up with a point release under one name
# and not yet under the other, and apt rightly refuses lists that are not what was signed.
alias=stable
cache=${ISOMER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/isomer}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Addresses in this machine's apt sources, those of a Debian archive with "main" only;
# whether one of them has the suite, only asking it shows.
mirrors() {
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$f" ] || continue
        sed -nE 's/^deb +(\[[^]]*\] +)?([a-z+]+:[^ ]+) +[^ ]+ +(.* )?main( .*)?$/\2/p' "$f"
    done
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        awk 'function done() { if (deb && comp && on) print uri; deb = comp = 0; on = 1; uri = "" }
             BEGIN { on = 1 }
             /^[ \t]*$/ { done() }
             /^Types:/ { deb = / deb( |$)/ }
             /^Enabled: *no/ { on = 0 }
             /^Components:/ { comp = / main( |$)/ }
             /^URIs:/ { uri = $2 }
             END { done() }' "$f"
    done
}

# apt-get for one architecture and state directory.
apt_for() {
    arch=$1 state=$2
    shift 2
    apt-get -qq \
        -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
        -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::Etc::Preferences=- -o Dir::Etc::PreferencesParts=- \
        -o Dir::State="$state" -o Dir::State::status="$state/status" \
        -o Dir::State::Lists="$state/lists" -o Dir::State::extended_states="$state/extended" \
        -o Dir::Cache="$state/cache" -o Dir::Cache::archives="$state/archives" \
        -o Dir::Log="$state" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" \
        -o APT::Install-Recommends=0 -o APT::Install-Suggests=0 \
        -o APT::Update::Post-Invoke= -o APT::Get::Assume-Yes=1 -o Acquire::Retries=3 \
        -o Acquire::Languages=none "$@"
}
