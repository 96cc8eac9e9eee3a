# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Elasticsearch from its published jars, on a machine that need not have it. To be sourced after setup.sh:
#
#   kdr_elasticsearch                    # sets KDR_ELASTICSEARCH, a directory with bin/elasticsearch
#   kdr_elasticsearch_9                  # the same of the newest major version: KDR_ELASTICSEARCH_9
#   kdr_elasticsearch_for_tests WHAT     # for parts of scripts/test: kdr_elasticsearch, or says that WHAT is not run;
#   kdr_elasticsearch_9_for_tests WHAT   # the other one
#
# bin/elasticsearch HOME runs one node in the foreground until SIGTERM; what it is to be is in HOME/config/elasticsearch.yml.
# It says "Elasticsearch started" when it takes requests. With xpack.security.enabled: true the password of the user elastic
# is in the environment (ELASTIC_PASSWORD). What its makers publish lacks modules: reindexing, scripts, S3 repositories, SLM.
. "$KDR_ROOT/scripts/lib/java.sh"

KDR_ELASTICSEARCH_VERSION=8.19.21 KDR_ELASTICSEARCH_9_VERSION=9.5.3

# kdr_elasticsearch: returns 2 when this machine's package sources have no JDK or no Maven.
kdr_elasticsearch() {
    kdr_elasticsearch_made "$KDR_ELASTICSEARCH_VERSION" 17 || return $?
    export KDR_ELASTICSEARCH=$KDR_MADE
}

kdr_elasticsearch_9() {
    kdr_elasticsearch_made "$KDR_ELASTICSEARCH_9_VERSION" 21 || return $?
    export KDR_ELASTICSEARCH_9=$KDR_MADE
}

kdr_elasticsearch_for_tests() {
    kdr_for_tests kdr_elasticsearch "$1"
    [ -z "${KDR_ELASTICSEARCH:-}" ] || export KESTRA_DR_TEST_ELASTICSEARCH=$KDR_ELASTICSEARCH
}

kdr_elasticsearch_9_for_tests() {
    kdr_for_tests kdr_elasticsearch_9 "$1"
    [ -z "${KDR_ELASTICSEARCH_9:-}" ] || export KESTRA_DR_TEST_ELASTICSEARCH_9=$KDR_ELASTICSEARCH_9
}

# kdr_elasticsearch_made VERSION JAVA: sets KDR_MADE. The library of zstd is what Elasticsearch compresses with.
kdr_elasticsearch_made() {
    local key
    kdr_jdk "$2" || return $?
    kdr_packages libzstd1 || return $?
    key=$({
        printf '%s\n' "$1 $(dpkg --print-architecture)" "$KDR_JAVA"
        cat "$KDR_ROOT"/scripts/lib/{elasticsearch,java}.sh "$KDR_ROOT"/scripts/lib/{elasticsearch,java}/*
    } | sha256sum | cut -c1-12)
    KDR_MADE=$KDR_CACHE/elasticsearch-$key
    [ -e "$KDR_MADE/.complete" ] || kdr_locked elasticsearch kdr_make_elasticsearch "$KDR_MADE" "$1" || return $?
}

kdr_make_elasticsearch() {
    local directory=$1 version=$2
    [ -e "$directory/.complete" ] && return 0
    kdr_say "fetching Elasticsearch $version"
    rm -rf "$directory"
    mkdir -p "$directory"/{bin,lib,modules,security,config,launcher} || kdr_die "cannot write $directory"
    kdr_elasticsearch_jars "$directory" "$version"
    kdr_elasticsearch_zstd "$directory"
    kdr_elasticsearch_launcher "$directory" "$version"
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

kdr_elasticsearch_jars() {
    local directory=$1 version=$2 name
    kdr_jars org.elasticsearch elasticsearch "$version" "$directory/lib"
    for name in modules/transport-netty4 security/x-pack-core security/x-pack-security; do
        kdr_jars org.elasticsearch.plugin "$(basename "$name")" "$version" "$directory/$name"
        # Without a Java module: the server is on the class path here.
        (cd "$directory/$name" && "$KDR_JAVA/jar" --extract --file "$(basename "$name")-$version.jar" META-INF/es-plugins) ||
            kdr_die "$name cannot be unpacked"
        grep -hv '^modulename=' "$directory/$name"/META-INF/es-plugins/*/plugin-descriptor.properties \
            >"$directory/$name/plugin-descriptor.properties" || kdr_die "$name does not say what it is"
        rm -rf "$directory/$name/META-INF"
    done
    for name in core saml-api xmlsec-api; do
        kdr_jars org.opensaml "opensaml-$name" 4.0.1 "$directory/security/x-pack-security" -DexcludeTransitive
    done
    kdr_jars_thin "$directory/modules/transport-netty4" "$directory/lib"
    kdr_jars_thin "$directory/security/x-pack-core" "$directory/lib"
    kdr_jars_thin "$directory/security/x-pack-security" "$directory/lib" "$directory/security/x-pack-core"
}

kdr_elasticsearch_launcher() {
    local directory=$1 version=$2 sources=$KDR_ROOT/scripts/lib/elasticsearch log build name
    log=$KDR_CACHE/log/elasticsearch.log build=$directory/build
    mkdir -p "$build/sources"
    for name in "$sources"/*.java; do
        sed -E "\\| // only [^${version%%.*}]\$|d" "$name" >"$build/sources/$(basename "$name")" || kdr_die "cannot write $directory"
    done
    if ! "$KDR_JAVA/javac" -nowarn -d "$build" -cp "$directory/lib/*" "$build"/sources/*.java >"$log" 2>&1; then
        cat "$log" >&2
        kdr_die "the launcher of Elasticsearch does not compile"
    fi
    mv "$build"/Launcher*.class "$directory/launcher/" || kdr_die "the launcher of Elasticsearch is missing"
    kdr_elasticsearch_module "$directory/modules/unpublished" "$build" Unpublished "$version"
    kdr_elasticsearch_module "$directory/security/security-index-analysis" "$build" SecurityIndexAnalysis "$version"
    rm -rf "$build"
    ln -s "$KDR_JAVA/java" "$directory/bin/java"
    install -m 644 "$KDR_ROOT/scripts/lib/java/log4j2.properties" "$directory/config/" || kdr_die "cannot write $directory"
    install -m 755 "$sources/elasticsearch" "$directory/bin/" || kdr_die "cannot write $directory"
}

# kdr_elasticsearch_module DIRECTORY CLASSES NAME VERSION: a module of our own, of the class NAME and what is inside it.
kdr_elasticsearch_module() {
    local directory=$1 build=$2 name=$3
    mkdir -p "$directory"
    (cd "$build" && "$KDR_JAVA/jar" --create --file "$directory/module.jar" "$name"*.class) || kdr_die "$name cannot be packed"
    cat >"$directory/plugin-descriptor.properties" <<PROPERTIES
description=$name
version=1
name=$(basename "$directory")
java.version=17
elasticsearch.version=$4
classname=$name
PROPERTIES
}

# Where Elasticsearch looks for libraries of this machine's kind.
kdr_elasticsearch_zstd() {
    local place
    case $(uname -m) in
        x86_64) place=linux-x64 ;;
        aarch64) place=linux-aarch64 ;;
        *) kdr_die "Elasticsearch does not run on $(uname -m)" ;;
    esac
    mkdir -p "$1/lib/platform/$place"
    cp "$(dpkg -L libzstd1 | grep '/libzstd\.so\.1$')" "$1/lib/platform/$place/libzstd.so" || kdr_die "there is no libzstd"
}
