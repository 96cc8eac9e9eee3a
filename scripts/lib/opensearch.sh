# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# OpenSearch from its published jars, on a machine that need not have it. To be sourced after setup.sh:
#
#   kdr_opensearch                       # sets KDR_OPENSEARCH, a directory with bin/opensearch
#   kdr_opensearch_for_tests WHAT        # for parts of scripts/test: kdr_opensearch, or says that WHAT is not run
#
# bin/opensearch HOME runs one node in the foreground until SIGTERM; what it is to be is in HOME/config/opensearch.yml. It
# says "OpenSearch started" when it takes requests. Users and TLS are a plugin that is not published as jars; with
# S3_ACCESS_KEY and S3_SECRET_KEY in the environment it has repositories in buckets.
. "$KDR_ROOT/scripts/lib/java.sh"

KDR_OPENSEARCH_VERSION=3.8.0

# kdr_opensearch: returns 2 when this machine's package sources have no JDK or no Maven.
kdr_opensearch() {
    local key
    kdr_jdk 21 || return $?
    key=$({
        printf '%s\n' "$KDR_OPENSEARCH_VERSION" "$KDR_JAVA"
        cat "$KDR_ROOT/scripts/lib/opensearch.sh" "$KDR_ROOT/scripts/lib/java.sh" "$KDR_ROOT"/scripts/lib/{java,opensearch}/*
    } | sha256sum | cut -c1-12)
    KDR_OPENSEARCH=$KDR_CACHE/opensearch-$key
    [ -e "$KDR_OPENSEARCH/.complete" ] || kdr_locked opensearch kdr_make_opensearch "$KDR_OPENSEARCH" || return $?
    export KDR_OPENSEARCH
}

kdr_opensearch_for_tests() {
    kdr_for_tests kdr_opensearch "$1"
    [ -z "${KDR_OPENSEARCH:-}" ] || export KESTRA_DR_TEST_OPENSEARCH=$KDR_OPENSEARCH
}

kdr_make_opensearch() {
    local directory=$1 sources=$KDR_ROOT/scripts/lib/opensearch log=$KDR_CACHE/log/opensearch.log logger
    [ -e "$directory/.complete" ] && return 0
    kdr_say "fetching OpenSearch $KDR_OPENSEARCH_VERSION"
    rm -rf "$directory"
    mkdir -p "$directory"/{bin,lib,modules,s3,config,launcher} || kdr_die "cannot write $directory"
    kdr_jars org.opensearch opensearch "$KDR_OPENSEARCH_VERSION" "$directory/lib"
    # What it asks for nowhere and does not start without.
    kdr_jars org.opensearch opensearch-plugin-classloader "$KDR_OPENSEARCH_VERSION" "$directory/lib" -DexcludeTransitive
    logger=$(basename "$directory"/lib/log4j-api-*.jar .jar)
    kdr_jars org.apache.logging.log4j log4j-core "${logger##*-}" "$directory/lib" -DexcludeTransitive
    kdr_opensearch_module "$directory/modules/transport-netty4" transport-netty4-client org.opensearch.transport.Netty4ModulePlugin
    kdr_opensearch_module "$directory/s3/repository-s3" repository-s3 org.opensearch.repositories.s3.S3RepositoryPlugin
    if ! "$KDR_JAVA/javac" -nowarn -d "$directory/launcher" -cp "$directory/lib/*" "$sources/Launcher.java" >"$log" 2>&1; then
        cat "$log" >&2
        kdr_die "the launcher of OpenSearch does not compile"
    fi
    ln -s "$KDR_JAVA/java" "$directory/bin/java"
    install -m 644 "$KDR_ROOT/scripts/lib/java/log4j2.properties" "$directory/config/" || kdr_die "cannot write $directory"
    install -m 755 "$sources/opensearch" "$directory/bin/" || kdr_die "cannot write $directory"
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

# kdr_opensearch_module DIRECTORY ARTIFACT CLASS: a module or plugin, as its server looks for it.
kdr_opensearch_module() {
    local directory=$1
    kdr_jars org.opensearch.plugin "$2" "$KDR_OPENSEARCH_VERSION" "$directory"
    kdr_jars_thin "$directory" "$KDR_OPENSEARCH/lib"
    cat >"$directory/plugin-descriptor.properties" <<PROPERTIES
description=$2
version=$KDR_OPENSEARCH_VERSION
name=$(basename "$directory")
java.version=21
opensearch.version=$KDR_OPENSEARCH_VERSION
classname=$3
PROPERTIES
}
