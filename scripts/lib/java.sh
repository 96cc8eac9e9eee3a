# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A JDK and published jars, on a machine that may have an older Java or none. To be sourced after setup.sh:
#
#   kdr_jdk LEAST                                    # sets KDR_JAVA, a directory with java, javac and jar of LEAST or newer
#   kdr_jars GROUP ARTIFACT VERSION DIRECTORY [OPTION]   # an artefact and what it needs, into a directory
#   kdr_jars_thin DIRECTORY OTHER...                 # removes from DIRECTORY what an OTHER has in any version
. "$KDR_ROOT/scripts/lib/unpacked.sh"

# kdr_jdk: the machine's own, the distribution's, or one of Debian's unpacked into the cache. Maven, which fetches as it is
# told on this machine, is installed. Returns 2 when this machine's package sources lack them.
kdr_jdk() {
    local offered javac
    command -v mvn >/dev/null || kdr_packages maven || return $?
    if ! kdr_jdk_reached "$1"; then
        offered=$(apt-cache policy default-jdk-headless 2>/dev/null | sed -n 's/^  Candidate: .*\.\([0-9]*\)-.*/\1/p')
        if [ "${offered:-0}" -lt "$1" ]; then
            kdr_unpacked jdk kdr_jdk_programs openjdk-21-jdk-headless || return $?
            export KDR_JAVA=$KDR_UNPACKED/bin
            return 0
        fi
        kdr_packages default-jdk-headless || return $?
        kdr_jdk_reached "$1" || kdr_die "Java $1 or newer is needed: $(javac --version 2>&1)"
    fi
    javac=$(readlink -f "$(command -v javac)")
    export KDR_JAVA=${javac%/*}
}

kdr_jdk_reached() {
    local version
    version=$(javac --version 2>/dev/null) && version=${version#javac } && [ "${version%%.*}" -ge "$1" ]
}

kdr_jdk_programs() {
    local program
    for program in javac java jar; do
        printf '%s %s\n' "$program" "$(cd "$1" && echo usr/lib/jvm/java-21-openjdk-*/bin/$program)"
    done
}

kdr_jars() {
    local log=$KDR_CACHE/log/$2.log
    if ! mvn -B -q -f "$KDR_ROOT/scripts/lib/java/pom.xml" -Dgroup="$1" -Dartifact="$2" -Dartifact.version="$3" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$4" "${@:5}" >"$log" 2>&1 </dev/null 9>&-; then
        grep ERROR "$log" | head -n 5 >&2
        kdr_die "could not fetch $2 $3 (whole log: $log)"
    fi
}

# No class may be there twice: not in the server and a module, nor in a module and the one it extends.
kdr_jars_thin() {
    local directory=$1 jar name
    shift
    for jar in "$directory"/*.jar; do
        name=$(basename "$jar" | sed 's/-[0-9].*//')
        ! find "$@" -maxdepth 1 -name "$name-[0-9]*.jar" | grep -q . || rm "$jar"
    done
}
