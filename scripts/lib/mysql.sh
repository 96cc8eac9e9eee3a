# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Oracle's MySQL server and clients on a machine that need not have them. To be sourced after setup.sh:
#
#   kdr_mysql                        # sets KDR_MYSQL_BIN, a directory with mysqld, mysql and mysqldump
#   kdr_mysql_unpacked               # sets KDR_MYSQL, a directory that has them in bin/ and runs in a container too
#   kdr_mysql_for_tests WHAT         # for parts of scripts/test: kdr_mysql, or says that WHAT is not run
#
# Debian carries them in unstable only, and calls MariaDB's client mysqldump elsewhere.
. "$KDR_ROOT/scripts/lib/unpacked.sh"

# kdr_mysql: returns 2 when this machine's package sources name no Debian mirror.
kdr_mysql() {
    # The distribution's own, where that is Oracle's.
    if mysqld --version 2>/dev/null | grep -v MariaDB | grep -q 'Ver [89]' && mysqldump --version 2>/dev/null |
        grep -vq MariaDB; then
        KDR_MYSQL_BIN=$(dirname "$(command -v mysqld)")
    else
        kdr_mysql_unpacked || return $?
        KDR_MYSQL_BIN=$KDR_MYSQL/bin
    fi
    export KDR_MYSQL_BIN
}

kdr_mysql_unpacked() {
    kdr_unpacked mysql kdr_mysql_programs mysql-server-core mysql-client-core tzdata || return $?
    KDR_MYSQL=$KDR_UNPACKED
    export KDR_MYSQL
}

kdr_mysql_for_tests() {
    kdr_for_tests kdr_mysql "$1"
    [ -z "${KDR_MYSQL_BIN:-}" ] || export KESTRA_DR_TEST_MYSQL_BIN=$KDR_MYSQL_BIN
}

kdr_mysql_programs() {
    local program path extra
    for program in mysqld mysql mysqldump mysqladmin mysql_tzinfo_to_sql; do
        path=usr/bin/$program extra=""
        [ -e "$1/$path" ] || path=usr/sbin/$program
        if [ $program = mysqld ]; then
            extra="--lc-messages-dir=$1/usr/share/mysql --character-sets-dir=$1/usr/share/mysql/charsets"
            extra="$extra --plugin-dir=$1/usr/lib/mysql/plugin"
        fi
        printf '%s %s %s\n' "$program" "$path" "$extra"
    done
}
