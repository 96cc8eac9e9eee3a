# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Elasticsearch from its published jars, on a machine that need not have it. To be sourced after setup.sh:
#
#   kdr_elasticsearch                    # sets KDR_ELASTICSEARCH, a directory with bin/elasticsearch
#   kdr_elasticsearch_for_tests WHAT     # for parts of scripts/test: kdr_elasticsearch, or says that WHAT is not run
#
# bin/elasticsearch HOME runs one node in the foreground until SIGTERM; what it is to be is in HOME/config/elasticsearch.yml.
# It says "Elasticsearch started" when it takes requests. With xpack.security.enabled: true the password of the user elastic
# is in the environment (ELASTIC_PASSWORD). What its makers publish lacks modules: reindexing, scripts, S3 repositories, SLM.
. "$KDR_ROOT/scripts/lib/unpacked.sh"

KDR_ELASTICSEARCH_VERSION=8.19.21

# kdr_elasticsearch: returns 2 when this machine's package sources have no JDK or no Maven.
kdr_elasticsearch() {
    local key
    kdr_elasticsearch_tools || return $?
    key=$({
        printf '%s\n' "$KDR_ELASTICSEARCH_VERSION $(dpkg --print-architecture)" "$(readlink -f "$(command -v java)")"
        cat "$KDR_ROOT/scripts/lib/elasticsearch.sh" "$KDR_ROOT"/scripts/lib/elasticsearch/*
    } | sha256sum | cut -c1-12)
    KDR_ELASTICSEARCH=$KDR_CACHE/elasticsearch-$key
    [ -e "$KDR_ELASTICSEARCH/.complete" ] || kdr_locked elasticsearch kdr_make_elasticsearch "$KDR_ELASTICSEARCH" || return $?
    export KDR_ELASTICSEARCH
}

kdr_elasticsearch_for_tests() {
    kdr_for_tests kdr_elasticsearch "$1"
    [ -z "${KDR_ELASTICSEARCH:-}" ] || export KESTRA_DR_TEST_ELASTICSEARCH=$KDR_ELASTICSEARCH
}

# A JDK of 17 or newer, and Maven. The library of zstd is what Elasticsearch compresses with.
kdr_elasticsearch_tools() {
    local name missing=()
    javac --version 2>/dev/null | grep -qE '^javac (1[7-9]|[2-9][0-9])' || missing+=(default-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -eq 0 ] || kdr_packages "${missing[@]}" || return $?
    kdr_packages libzstd1 || return $?
    for name in java javac jar mvn; do
        command -v $name >/dev/null || kdr_die "no $name after the installation of a JDK and Maven"
    done
    javac --version | grep -qE '^javac (1[7-9]|[2-9][0-9])' || kdr_die "Elasticsearch needs Java 17 or newer: $(javac --version)"
}

kdr_make_elasticsearch() {
    local directory=$1
    [ -e "$directory/.complete" ] && return 0
    kdr_say "fetching Elasticsearch $KDR_ELASTICSEARCH_VERSION"
    rm -rf "$directory"
    mkdir -p "$directory"/{bin,lib,modules,security,config,launcher} || kdr_die "cannot write $directory"
    kdr_elasticsearch_jars "$directory"
    kdr_elasticsearch_zstd "$directory"
    kdr_elasticsearch_launcher "$directory"
    chmod -R a+rX "$directory"
    : >"$directory/.complete"
}

kdr_elasticsearch_jars() {
    local directory=$1 name
    kdr_elasticsearch_fetch org.elasticsearch elasticsearch "$KDR_ELASTICSEARCH_VERSION" "$directory/lib"
    for name in modules/transport-netty4 security/x-pack-core security/x-pack-security; do
        kdr_elasticsearch_fetch org.elasticsearch.plugin "$(basename "$name")" "$KDR_ELASTICSEARCH_VERSION" "$directory/$name"
        # Without a Java module: the server is on the class path here.
        (cd "$directory/$name" && jar --extract --file "$(basename "$name")-$KDR_ELASTICSEARCH_VERSION.jar" META-INF/es-plugins) ||
            kdr_die "$name cannot be unpacked"
        grep -hv '^modulename=' "$directory/$name"/META-INF/es-plugins/*/plugin-descriptor.properties \
            >"$directory/$name/plugin-descriptor.properties" || kdr_die "$name does not say what it is"
        rm -rf "$directory/$name/META-INF"
    done
    for name in core saml-api xmlsec-api; do
        kdr_elasticsearch_fetch org.opensaml "opensaml-$name" 4.0.1 "$directory/security/x-pack-security" -DexcludeTransitive
    done
    # No class may be there twice: not in the server and a module, nor in a module and the one it extends.
    kdr_elasticsearch_thin "$directory/modules/transport-netty4" "$directory/lib"
    kdr_elasticsearch_thin "$directory/security/x-pack-core" "$directory/lib"
    kdr_elasticsearch_thin "$directory/security/x-pack-security" "$directory/lib" "$directory/security/x-pack-core"
}

# kdr_elasticsearch_thin MODULE DIRECTORY...: removes from MODULE what a DIRECTORY has in any version.
kdr_elasticsearch_thin() {
    local module=$1 jar name
    shift
    for jar in "$module"/*.jar; do
        name=$(basename "$jar" | sed 's/-[0-9].*//')
        ! find "$@" -maxdepth 1 -name "$name-[0-9]*.jar" | grep -q . || rm "$jar"
    done
}

# kdr_elasticsearch_fetch GROUP ARTIFACT VERSION DIRECTORY [OPTION]
kdr_elasticsearch_fetch() {
    local log=$KDR_CACHE/log/elasticsearch.log
    if ! mvn -B -q -f "$KDR_ROOT/scripts/lib/elasticsearch/pom.xml" -Dgroup="$1" -Dartifact="$2" \
        -Dartifact.version="$3" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$4" "${@:5}" >"$log" 2>&1 </dev/null 9>&-; then
        grep ERROR "$log" | head -n 5 >&2
        kdr_die "could not fetch $2 $3 (whole log: $log)"
    fi
}

kdr_elasticsearch_launcher() {
    local directory=$1 sources=$KDR_ROOT/scripts/lib/elasticsearch log=$KDR_CACHE/log/elasticsearch.log build=$1/build
    if ! javac -nowarn -d "$build" -cp "$directory/lib/*" "$sources"/*.java >"$log" 2>&1; then
        cat "$log" >&2
        kdr_die "the launcher of Elasticsearch does not compile"
    fi
    mv "$build"/Launcher*.class "$directory/launcher/" || kdr_die "the launcher of Elasticsearch is missing"
    kdr_elasticsearch_module "$directory/modules/unpublished" "$build" Unpublished
    kdr_elasticsearch_module "$directory/security/security-index-analysis" "$build" SecurityIndexAnalysis
    rm -rf "$build"
    install -m 644 "$sources/log4j2.properties" "$directory/config/" || kdr_die "cannot write $directory"
    install -m 755 "$sources/elasticsearch" "$directory/bin/" || kdr_die "cannot write $directory"
}

# kdr_elasticsearch_module DIRECTORY CLASSES NAME: a module of our own, of the class NAME and what is inside it.
kdr_elasticsearch_module() {
    local directory=$1 build=$2 name=$3
    mkdir -p "$directory"
    (cd "$build" && jar --create --file "$directory/module.jar" "$name"*.class) || kdr_die "$name cannot be packed"
    cat >"$directory/plugin-descriptor.properties" <<PROPERTIES
description=$name
version=1
name=$(basename "$directory")
java.version=17
elasticsearch.version=$KDR_ELASTICSEARCH_VERSION
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
