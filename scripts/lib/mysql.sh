# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Oracle's MySQL server and clients on a machine that need not have them. To be sourced after setup.sh and containers.sh:
#
#   kdr_mysql                        # sets KDR_MYSQL_BIN, a directory with mysqld, mysql and mysqldump
#
# Debian carries them in unstable only, and calls MariaDB's client mysqldump elsewhere. So the packages are unpacked into
# the cache and run by that tree's own dynamic linker: nothing is installed, and the machine's package sources, keys and
# lists are read, never changed.

KDR_MYSQL_PACKAGES=(mysql-server-core mysql-client-core tzdata)

# kdr_mysql: returns 2 when this machine's package sources name no Debian mirror.
kdr_mysql() {
    local key
    # The distribution's own, where that is Oracle's.
    if mysqld --version 2>/dev/null | grep -v MariaDB | grep -q 'Ver [89]' && mysqldump --version 2>/dev/null |
        grep -vq MariaDB; then
        KDR_MYSQL_BIN=$(dirname "$(command -v mysqld)")
        export KDR_MYSQL_BIN
        return 0
    fi
    key=$(printf '%s\n' "1 $(dpkg --print-architecture)" "${KDR_MYSQL_PACKAGES[@]}" | sha256sum | cut -c1-12)
    [ -e "$KDR_CACHE/mysql-$key/.complete" ] || kdr_locked mysql kdr_make_mysql "$KDR_CACHE/mysql-$key" || return $?
    KDR_MYSQL_BIN=$KDR_CACHE/mysql-$key/bin
    export KDR_MYSQL_BIN
}

kdr_make_mysql() {
    local directory=$1 apt source
    [ -e "$directory/.complete" ] && return 0
    source=$(kdr_need_debian_sources sid | grep ' sid main$' | head -n 1) || return 2
    [ -n "$source" ] || return 2
    kdr_say "fetching MySQL"
    rm -rf "$directory"
    apt=$directory/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$directory/root" "$directory/bin"
    kdr_mysql_apt "$apt" "$source"
    if ! {
        APT_CONFIG=$apt/conf apt-get -q update &&
            APT_CONFIG=$apt/conf apt-get -q -y --no-install-recommends --download-only install "${KDR_MYSQL_PACKAGES[@]}"
    } >"$KDR_CACHE/log/mysql.log" 2>&1 </dev/null 9>&-; then
        tail -n 20 "$KDR_CACHE/log/mysql.log" >&2
        kdr_die "could not fetch MySQL (whole log: $KDR_CACHE/log/mysql.log)"
    fi
    # The root of a Debian system has these as links; without them packages would make two trees.
    mkdir -p "$directory"/root/usr/{bin,sbin,lib,lib64}
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$directory/root/"
    for source in "$apt"/cache/archives/*.deb; do
        dpkg -x "$source" "$directory/root" || kdr_die "could not unpack $(basename "$source")"
    done
    rm -rf "$apt"
    kdr_mysql_starters "$directory"
    "$directory/bin/mysqld" --no-defaults --version >>"$KDR_CACHE/log/mysql.log" 2>&1 ||
        kdr_die "the unpacked MySQL does not run: $(tail -n 1 "$KDR_CACHE/log/mysql.log")"
    # An unprivileged account runs it.
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

# apt with a state of its own: it thinks that nothing is installed, so that what it fetches is complete.
kdr_mysql_apt() {
    local apt=$1 source=$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ -e "$keyring" ]; then source="deb [signed-by=$keyring] ${source#deb }"; fi
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

# Programs that start those of the tree with the tree's own libraries.
kdr_mysql_starters() {
    local directory=$1 root=$1/root linker libraries program extra
    linker=$(find -L "$root/lib64" "$root/lib" -maxdepth 2 -name 'ld-linux*.so.*' | head -n 1)
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.6' | head -n 1)")
    if [ -z "$linker" ] || [ "$libraries" = . ]; then
        kdr_die "the unpacked MySQL has no C library"
    fi
    for program in mysqld mysql mysqldump mysqladmin mysql_tzinfo_to_sql; do
        extra=""
        case $program in
            mysqld)
                extra="--lc-messages-dir=$root/usr/share/mysql --character-sets-dir=$root/usr/share/mysql/charsets"
                extra="$extra --plugin-dir=$root/usr/lib/mysql/plugin"
                ;;
        esac
        cat >"$directory/bin/$program" <<SH
#!/bin/sh
# --no-defaults and the like must come first; what is given here must not come before them.
exec "$linker" --library-path "$libraries:$root/usr/lib/mysql/private" "$(kdr_mysql_program "$root" "$program")" "\$@"${extra:+ $extra}
SH
        chmod 755 "$directory/bin/$program"
    done
}

kdr_mysql_program() {
    local place
    for place in "$1/usr/sbin/$2" "$1/usr/bin/$2"; do
        if [ -e "$place" ]; then
            printf '%s\n' "$place"
            return 0
        fi
    done
    return 1
}
