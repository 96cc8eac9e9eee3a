# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Object stores on a machine that need not have them. To be sourced after setup.sh:
#
#   kdr_s3                           # sets KDR_S3_SERVER, the program versitygw: small, quick to build, enough for most tests
#   kdr_minio                        # sets KDR_MINIO, the program minio: what only it has (lifecycles, replication, times of versions)
#   kdr_gcs                          # sets KDR_GCS, the program fake-gcs-server: an emulator of Google Cloud Storage
#   kdr_s3_for_tests WHAT            # for parts of scripts/test: kdr_s3, or says that WHAT is not run
#   kdr_minio_for_tests WHAT         # the same for kdr_minio
#   kdr_gcs_for_tests WHAT           # the same for kdr_gcs
#
# They are built once, with this machine's Go or Debian's: about 400 s of processor time for the first, 1,500 s for the second,
# 300 s for the third.
. "$KDR_ROOT/scripts/lib/unpacked.sh"

# What these modules ask for, and the first Go that fetches what is newer than itself.
KDR_S3_GO=1.25 KDR_S3_GO_OLDEST=1.21

kdr_s3() {
    kdr_go_built versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0 || return $?
    export KDR_S3_SERVER=$KDR_BUILT
}

kdr_minio() {
    kdr_go_built minio github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c || return $?
    export KDR_MINIO=$KDR_BUILT
}

kdr_gcs() {
    kdr_go_built fake-gcs-server github.com/fsouza/fake-gcs-server@v1.56.1 -help || return $?
    export KDR_GCS=$KDR_BUILT
}

kdr_s3_for_tests() {
    kdr_for_tests kdr_s3 "$1"
    [ -z "${KDR_S3_SERVER:-}" ] || export KESTRA_DR_TEST_S3_SERVER=$KDR_S3_SERVER
}

kdr_minio_for_tests() {
    kdr_for_tests kdr_minio "$1"
    [ -z "${KDR_MINIO:-}" ] || export KESTRA_DR_TEST_MINIO=$KDR_MINIO
}

kdr_gcs_for_tests() {
    kdr_for_tests kdr_gcs "$1"
    [ -z "${KDR_GCS:-}" ] || export KESTRA_DR_TEST_GCS=$KDR_GCS
}

# kdr_go_built NAME MODULE@VERSION [WORD]: sets KDR_BUILT, the program, which succeeds with WORD (--version). Returns 2, with the
# reason in KDR_WHY, when there is no Go new enough.
kdr_go_built() {
    local key directory
    key=$(printf '%s\n' "1 $2 $(uname -m)" | sha256sum | cut -c1-12)
    directory=$KDR_CACHE/$1-$key
    if ! [ -e "$directory/.complete" ]; then
        kdr_go || return $?
        kdr_locked "$1" kdr_go_build "$directory" "$@" || return $?
    fi
    KDR_BUILT=$directory/$1
}

kdr_go_build() {
    local directory=$1 name=$2 module=$3 word=${4:---version} log=$KDR_CACHE/log/$2.log
    [ -e "$directory/.complete" ] && return 0
    kdr_say "building the object store $name (once; several minutes)"
    rm -rf "$directory"
    mkdir -p "$directory"
    if ! (
        cd "$directory"
        # Without a C library, so that it also runs in a container.
        export GOBIN=$directory CGO_ENABLED=0 GOWORK=off
        # Go as Debian has it keeps to itself unless told so.
        kdr_version_reached "$KDR_S3_GO" "$KDR_GO_VERSION" || export GOTOOLCHAIN=auto
        "$KDR_GO" install -trimpath -ldflags '-s -w' "$module" && "./$name" "$word"
    ) >"$log" 2>&1 </dev/null 9>&-; then
        tail -n 20 "$log" >&2
        kdr_die "could not build the object store $name (whole log: $log)"
    fi
    : >"$directory/.complete"
}

# kdr_go: sets KDR_GO and KDR_GO_VERSION; the distribution's is installed where it is new enough.
kdr_go() {
    local candidate offered
    for candidate in "$(command -v go)" /usr/local/go/bin/go; do
        kdr_go_at "$candidate" && return 0
    done
    offered=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^  Candidate: \(.*:\)\?\([0-9.]*\).*/\2/p')
    KDR_WHY="no Go from $KDR_S3_GO_OLDEST on, neither installed nor in the package sources${offered:+ (which have $offered)}"
    export KDR_WHY
    kdr_version_reached "$KDR_S3_GO_OLDEST" "${offered:-0}" || return 2
    kdr_packages golang-go ca-certificates || return $?
    kdr_go_at "$(command -v go)"
}

kdr_go_at() {
    [ -x "$1" ] || return 1
    KDR_GO=$1 KDR_GO_VERSION=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null)
    KDR_GO_VERSION=${KDR_GO_VERSION#go}
    kdr_version_reached "$KDR_S3_GO_OLDEST" "${KDR_GO_VERSION:-0}"
}

# kdr_version_reached LEAST VERSION
kdr_version_reached() { printf '%s\n' "$1" "$2" | sort -VC; }
