# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An emulator of Azure Blob Storage (Azurite, Microsoft's own). To be sourced after setup.sh:
#
#   kdr_azurite                      # sets KDR_AZURITE, the program azurite-blob
#   kdr_azurite_for_tests WHAT       # for parts of scripts/test: kdr_azurite, or says that WHAT is not run
#
# It is installed once into the cache, with the Node.js and npm that are there, or Debian's.
. "$KDR_ROOT/scripts/lib/unpacked.sh"

# The last one that runs on Debian's Node.js (18 in Debian 12, 20 in Debian 13), and the day that its libraries are of.
KDR_AZURITE_VERSION=3.35.0 KDR_AZURITE_DAY=2025-11-01 KDR_AZURITE_NODE=18

kdr_azurite() {
    local key directory node
    node=$(node --version 2>/dev/null) || node=v0
    node=${node#v}
    if [ "${node%%.*}" -lt "$KDR_AZURITE_NODE" ] || ! command -v npm >/dev/null; then
        kdr_packages nodejs npm || return $?
    fi
    key=$(printf '%s\n' "1 $KDR_AZURITE_VERSION $KDR_AZURITE_DAY" | sha256sum | cut -c1-12)
    directory=$KDR_CACHE/azurite-$key
    [ -e "$directory/.complete" ] || kdr_locked azurite kdr_azurite_install "$directory" || return $?
    export KDR_AZURITE=$directory/node_modules/.bin/azurite-blob
}

kdr_azurite_install() {
    local directory=$1 log=$KDR_CACHE/log/azurite.log
    [ -e "$directory/.complete" ] && return 0
    kdr_say "installing the emulator Azurite (once)"
    rm -rf "$directory"
    mkdir -p "$directory"
    # No program of a package runs while it is installed.
    if ! (
        cd "$directory"
        npm install --ignore-scripts --omit=dev --no-audit --no-fund --no-update-notifier --before "$KDR_AZURITE_DAY" \
            "azurite@$KDR_AZURITE_VERSION" && ./node_modules/.bin/azurite-blob --version
    ) >"$log" 2>&1 </dev/null 9>&-; then
        tail -n 20 "$log" >&2
        kdr_die "could not install the emulator Azurite (whole log: $log)"
    fi
    : >"$directory/.complete"
}

kdr_azurite_for_tests() {
    kdr_for_tests kdr_azurite "$1"
    [ -z "${KDR_AZURITE:-}" ] || export KESTRA_DR_TEST_AZURITE=$KDR_AZURITE
}
