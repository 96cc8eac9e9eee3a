# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Apache Kafka from its published jars, on a machine that need not have it. To be sourced after setup.sh:
#
#   kdr_kafka                        # sets KDR_KAFKA_BIN, a directory with kafka-server-start.sh and kafka-storage.sh
#   kdr_kafka_for_tests WHAT         # for parts of scripts/test: kdr_kafka, or says that WHAT is not run
#
# Debian does not carry it. Its programs have the names and arguments they have in Kafka's own distribution.
. "$KDR_ROOT/scripts/lib/unpacked.sh"

# kdr_kafka: returns 2 when this machine's package sources have no Java or no Maven.
kdr_kafka() {
    local program key
    # Kafka's own distribution, where somebody put it.
    if program=$(command -v kafka-storage.sh) && [ -x "$(dirname "$program")/kafka-server-start.sh" ]; then
        KDR_KAFKA_BIN=$(dirname "$program")
    else
        kdr_kafka_tools || return $?
        key=$({
            readlink -f "$(command -v java)"
            cat "$KDR_ROOT/scripts/lib/kafka.sh" "$KDR_ROOT"/scripts/lib/kafka/*
        } | sha256sum | cut -c1-12)
        KDR_KAFKA_BIN=$KDR_CACHE/kafka-$key/bin
        [ -e "$KDR_CACHE/kafka-$key/.complete" ] || kdr_locked kafka kdr_make_kafka "$KDR_CACHE/kafka-$key" || return $?
    fi
    export KDR_KAFKA_BIN
}

kdr_kafka_for_tests() {
    kdr_for_tests kdr_kafka "$1"
    [ -z "${KDR_KAFKA_BIN:-}" ] || export KESTRA_DR_TEST_KAFKA_BIN=$KDR_KAFKA_BIN
}

# Java of 17 or newer, and Maven, which fetches as it is told on this machine.
kdr_kafka_tools() {
    local missing=()
    kdr_kafka_java || missing+=(default-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -gt 0 ] || return 0
    kdr_packages "${missing[@]}" || return $?
    kdr_kafka_java || kdr_die "Kafka needs Java 17 or newer: $(java -version 2>&1 | head -n 1)"
}

kdr_kafka_java() {
    java -version 2>&1 | grep -qE ' version "(1[7-9]|[2-9][0-9])\b'
}

kdr_make_kafka() {
    local directory=$1 log=$KDR_CACHE/log/kafka.log
    [ -e "$directory/.complete" ] && return 0
    kdr_say "fetching Kafka"
    rm -rf "$directory"
    mkdir -p "$directory"/{bin,config}
    if ! mvn -B -q -f "$KDR_ROOT/scripts/lib/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        "-DoutputDirectory=$directory/libs" >"$log" 2>&1 </dev/null 9>&-; then
        grep ERROR "$log" | head -n 5 >&2
        kdr_die "could not fetch Kafka (whole log: $log)"
    fi
    cp "$KDR_ROOT/scripts/lib/kafka/log4j2.yaml" "$directory/config/"
    kdr_kafka_program "$directory" kafka-server-start.sh kafka.Kafka
    kdr_kafka_program "$directory" kafka-storage.sh kafka.tools.StorageTool
    "$directory/bin/kafka-storage.sh" random-uuid >"$log" 2>&1 </dev/null 9>&- || {
        tail -n 5 "$log" >&2
        kdr_die "the fetched Kafka does not run"
    }
    # An unprivileged account may run it.
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

kdr_kafka_program() {
    cat >"$1/bin/$2" <<SH
#!/bin/sh
# Options of the Java machine are in KAFKA_HEAP_OPTS.
exec "$(command -v java)" \${KAFKA_HEAP_OPTS:--Xmx512m} -XX:+UseSerialGC "-Dlog4j2.configurationFile=$1/config/log4j2.yaml" \\
    -cp "$1/libs/*" $3 "\$@"
SH
    chmod 755 "$1/bin/$2"
}
