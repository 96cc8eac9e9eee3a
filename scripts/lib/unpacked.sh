# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Programs of Debian unstable on a machine that has them neither installed nor in its release. To be sourced after setup.sh:
#
#   kdr_unpacked NAME PROGRAMS PACKAGE...   # sets KDR_UNPACKED, a directory whose bin/ starts the programs
#   kdr_for_tests FUNCTION WHAT             # in a part of scripts/test: such a FUNCTION, or says that WHAT is not run
#   kdr_postgresql_newer                    # sets KDR_PG_NEWER_BIN, with pg_dump, pg_restore and psql
#
# The packages are unpacked into the cache and run by that tree's own dynamic linker: nothing is installed, and the
# machine's package sources, keys and lists are read, never changed.
. "$KDR_ROOT/scripts/lib/containers.sh"

# kdr_unpacked NAME PROGRAMS PACKAGE...: PROGRAMS is a function that gets the root and prints one line for each program:
# its name, its path below the root, and what it is always given. Returns 2 when this machine's package sources name no
# Debian mirror.
kdr_unpacked() {
    local name=$1 key
    key=$(printf '%s\n' "2 $(dpkg --print-architecture)" "${@:2}" | sha256sum | cut -c1-12)
    KDR_UNPACKED=$KDR_CACHE/$name-$key
    [ -e "$KDR_UNPACKED/.complete" ] || kdr_locked "$name" kdr_unpack "$KDR_UNPACKED" "$@" || return $?
}

kdr_for_tests() {
    local rc=0
    KDR_WHY=""
    "$1" || rc=$?
    case $rc in
        0) ;;
        2) printf 'not run: %s: %s\n' "$2" "${KDR_WHY:-no package source of this machine has what it needs}" ;;
        *) kdr_die "what $2 needs could not be made, see above" ;;
    esac
}

kdr_unpack() {
    local directory=$1 name=$2 programs=$3 apt source link
    shift 3
    [ -e "$directory/.complete" ] && return 0
    source=$(kdr_need_debian_sources sid | grep ' sid main$' | head -n 1) || return 2
    [ -n "$source" ] || return 2
    kdr_say "fetching $name"
    rm -rf "$directory"
    apt=$directory/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$directory/root" "$directory/bin"
    kdr_unpack_apt "$apt" "$source"
    if ! {
        APT_CONFIG=$apt/conf apt-get -q update &&
            APT_CONFIG=$apt/conf apt-get -q -y --no-install-recommends --download-only install "$@"
    } >"$KDR_CACHE/log/$name.log" 2>&1 </dev/null 9>&-; then
        tail -n 20 "$KDR_CACHE/log/$name.log" >&2
        kdr_die "could not fetch $name (whole log: $KDR_CACHE/log/$name.log)"
    fi
    # The root of a Debian system has these as links; without them packages would make two trees.
    mkdir -p "$directory"/root/usr/{bin,sbin,lib,lib64}
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$directory/root/"
    for source in "$apt"/cache/archives/*.deb; do
        dpkg -x "$source" "$directory/root" || kdr_die "could not unpack $(basename "$source")"
    done
    rm -rf "$apt"
    # Links to absolute names mean the tree's own files.
    find "$directory/root" -type l -lname '/*' -printf '%p\0%l\0' | while IFS= read -r -d '' source && IFS= read -r -d '' link; do
        ln -sfn "$directory/root$link" "$source"
    done
    kdr_unpack_starters "$directory" "$programs"
    # An unprivileged account may run them.
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

# apt with a state of its own: it thinks that nothing is installed, so that what it fetches is complete.
kdr_unpack_apt() {
    local apt=$1 source=$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e "$keyring" ] && source="deb [signed-by=$keyring] ${source#deb }"
    printf '%s\n' "$source" >"$apt/sources.list"
    : >"$apt/status"
    cat >"$apt/conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt/cache";
APT::Sandbox::User "";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
CONF
}

# Programs that start those of the tree with the tree's own libraries; the first is tried.
kdr_unpack_starters() {
    local directory=$1 root=$1/root linker libraries program path extra tried=""
    linker=$(find -L "$root/lib64" "$root/lib" -maxdepth 2 -name 'ld-linux*.so.*' | head -n 1)
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.6' | head -n 1)")
    if [ -z "$linker" ] || [ "$libraries" = . ]; then
        kdr_die "what was unpacked into $directory has no C library"
    fi
    while read -r program path extra; do
        cat >"$directory/bin/$program" <<SH
#!/bin/sh
# What is given here must not come before --no-defaults and the like.
exec "$linker" --library-path "$libraries:$root/usr/lib/mysql/private" "$root/$path" "\$@"${extra:+ $extra}
SH
        chmod 755 "$directory/bin/$program"
        [ -n "$tried" ] || "$directory/bin/$program" --version >/dev/null || kdr_die "the unpacked $program does not run"
        tried=1
    done <<<"$($2 "$root")"
}

# The newest PostgreSQL clients there are, for tests beside an older server.
kdr_postgresql_newer() {
    kdr_unpacked postgresql-newer kdr_postgresql_programs postgresql-client-18 || return $?
    KDR_PG_NEWER_BIN=$KDR_UNPACKED/bin
    export KDR_PG_NEWER_BIN
}

kdr_postgresql_programs() {
    local program
    for program in pg_dump pg_restore psql; do
        printf '%s %s\n' "$program" "usr/lib/postgresql/18/bin/$program"
    done
}
