# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Set-up shared by the commands in scripts/. To be sourced:
#
#   . "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
#   kdr_packages git restic          # Debian packages, from the sources the machine already has
#   kdr_postgresql                   # the distribution's PostgreSQL server and clients; sets KDR_PG_BIN
#   kdr_venv run                     # tests/requirements-run.txt; sets KDR_VENV
#   kdr_collections                  # sets KDR_COLLECTIONS (for ANSIBLE_COLLECTIONS_PATH)
#
# Everything built lies in KDR_CACHE (${KESTRA_DR_CACHE:-$HOME/.cache/kestra-dr}), is built once and kept by a key of
# what went into it. A run that was killed leaves nothing that a later one takes for whole: a thing counts only with its
# stamp, and the stamp is written last. The machine's package sources are read, never changed.

[ "$(type -t kdr_say)" != function ] || return 0

KDR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
export KDR_ROOT

kdr_say() { printf '%s\n' "-- $*" >&2; }
kdr_die() {
    printf '%s\n' "error: $*" >&2
    exit 1
}
# For a part of scripts/test: ends it as skipped, with the reason.
kdr_skip() {
    printf '%s\n' "skip: $*"
    exit 77
}

[ -n "${BASH_VERSION:-}" ] || kdr_die "run this with bash"

# Below sudo or in a chroot HOME may be missing or somebody else's; files made there would later be in their way.
if [ -z "${HOME:-}" ] || ! [ -O "$HOME" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
    [ -d "${HOME:-/nowhere}" ] || kdr_die "user $(id -u) has no home directory; set KESTRA_DR_CACHE and HOME"
    export HOME
fi

KDR_CACHE=${KESTRA_DR_CACHE:-$HOME/.cache/kestra-dr}
if ! { mkdir -p "$KDR_CACHE" && [ -w "$KDR_CACHE" ]; }; then
    kdr_die "cannot write $KDR_CACHE; name another directory in KESTRA_DR_CACHE"
fi
KDR_CACHE=$(cd "$KDR_CACHE" && pwd -P)
mkdir -p "$KDR_CACHE/log" "$KDR_CACHE/lock"
export KDR_CACHE

# Shims of version managers start a Python that may not exist: they mislead Ansible's interpreter discovery and
# ansible-test. The sbin directories are missing from an ordinary user's PATH.
kdr_clean_path() {
    local entry result="" IFS=:
    for entry in $PATH /usr/local/sbin /usr/sbin /sbin; do
        case "$entry:" in
            */shims:*) continue ;;
        esac
        case ":$result:" in
            *":$entry:"*) continue ;;
        esac
        result=${result:+$result:}$entry
    done
    printf '%s' "$result"
}
PATH=$(kdr_clean_path)
export PATH

# A locale that exists everywhere and is UTF-8: ansible refuses to start without.
export LC_ALL=C.UTF-8

# kdr_locked NAME COMMAND...: one at a time on this machine. The lock is not handed down to what COMMAND starts with
# 9>&- (a server started by a package would hold it for ever), and ends with the process, however that ends.
kdr_locked() {
    local name=$1
    shift
    (
        flock -n 9 || {
            kdr_say "waiting for another run ($name)"
            flock 9
        }
        "$@"
    ) 9>"$KDR_CACHE/lock/$name"
}

kdr_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo "$@"
    else
        kdr_die "root is needed for: $*. Run this as root or with sudo."
    fi
}

# -- Debian packages ---------------------------------------------------------------------------------------------------

kdr_package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

kdr_package_known() {
    apt-cache policy "$1" 2>/dev/null | grep '^  Candidate: [^(]' >/dev/null
}

kdr_apt_get() {
    kdr_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" \
        >>"$KDR_CACHE/log/apt.log" 2>&1 </dev/null 9>&-
}

kdr_apt_update() {
    kdr_say "reading the package lists"
    kdr_apt_get update || kdr_die "apt-get update failed: $(tail -n 3 "$KDR_CACHE/log/apt.log")"
}

kdr_apt_install() {
    kdr_apt_get install -y --no-install-recommends "$@" && return 0
    # What an interrupted installation left behind, and lists that are older than the mirror.
    kdr_as_root dpkg --configure -a >>"$KDR_CACHE/log/apt.log" 2>&1 </dev/null 9>&-
    kdr_apt_update
    kdr_apt_get install -y --no-install-recommends "$@"
}

# kdr_packages NAME...: installs those that are missing; returns 2 when the machine's sources lack one.
kdr_packages() {
    local name missing=()
    for name; do
        kdr_package_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || kdr_die "these packages are needed and this is no Debian system: ${missing[*]}"
    kdr_locked apt kdr_install_missing "${missing[@]}"
}

kdr_install_missing() {
    local name unknown=()
    for name; do
        kdr_package_known "$name" || unknown+=("$name")
    done
    if [ ${#unknown[@]} -gt 0 ]; then
        kdr_apt_update
        for name in "${unknown[@]}"; do
            kdr_package_known "$name" || {
                kdr_say "no package source of this machine has $name"
                return 2
            }
        done
    fi
    kdr_say "installing: $*"
    kdr_apt_install "$@" || {
        tail -n 20 "$KDR_CACHE/log/apt.log" >&2
        kdr_die "could not install: $*"
    }
}

# The distribution's PostgreSQL. Its package makes and starts a cluster on port 5432 when it is first installed; that is
# a service nobody asked for here, so it is switched off for the time of the installation.
kdr_postgresql() {
    local bin
    if ! kdr_find_pg_bin >/dev/null; then
        kdr_packages postgresql-common
        kdr_locked postgresql kdr_install_postgresql
    fi
    bin=$(kdr_find_pg_bin) || kdr_die "no PostgreSQL server below /usr/lib/postgresql after its installation"
    KDR_PG_BIN=$bin
    export KDR_PG_BIN
}

kdr_find_pg_bin() {
    local candidate found=""
    # The glob is in order of names, and all versions have two digits: the last one is the newest.
    for candidate in /usr/lib/postgresql/[1-9][0-9]/bin/initdb; do
        [ -x "$candidate" ] && found=$candidate
    done
    [ -n "$found" ] && printf '%s\n' "${found%/initdb}"
}

kdr_install_postgresql() {
    local conf=/etc/postgresql-common/createcluster.conf mark='# kestra-dr: during the installation only'
    kdr_find_pg_bin >/dev/null && return 0
    kdr_as_root sed -i "/$mark\$/d" "$conf" # left by a run that was killed here
    printf 'create_main_cluster = false %s\n' "$mark" | kdr_as_root tee -a "$conf" >/dev/null
    # No exec: the subshell's exit status is kept and the line goes in any case.
    (kdr_packages postgresql)
    local rc=$?
    kdr_as_root sed -i "/$mark\$/d" "$conf"
    return $rc
}

# -- Python ------------------------------------------------------------------------------------------------------------

# kdr_python_at CANDIDATE MIN MAX: prints the interpreter it really is, if that works and MIN <= its version <= MAX.
kdr_python_at() {
    "$1" -I -c '
import sys, ssl, ctypes, zlib
low, high = (tuple(int(n) for n in text.split(".")) for text in sys.argv[1:3])
if not low <= sys.version_info[:2] <= high:
    sys.exit(1)
import os
print(os.path.realpath(sys.executable))' "$2" "$3" 2>/dev/null </dev/null
}

kdr_python_candidates() {
    local minor directory
    printf '%s\n' /usr/bin/python3
    for minor in 13 12 11 14 10 9; do
        printf '%s\n' "/usr/bin/python3.$minor" "/usr/local/bin/python3.$minor" "/opt/python3.$minor/bin/python3.$minor"
        for directory in "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".* \
            "${XDG_DATA_HOME:-$HOME/.local/share}/uv/python/cpython-3.$minor".*; do
            printf '%s\n' "$directory/bin/python3"
        done
        command -v "python3.$minor" || true
    done
}

# kdr_find_python MIN MAX: prints a working interpreter that can make virtual environments; the distribution's own first.
kdr_find_python() {
    local candidate python incomplete=""
    while IFS= read -r candidate; do
        [ -x "$candidate" ] || continue
        python=$(kdr_python_at "$candidate" "$1" "$2") || continue
        [ -n "$python" ] || continue
        if "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$python"
            return 0
        fi
        incomplete=${incomplete:-$python}
    done <<<"$(kdr_python_candidates)"
    [ -n "$incomplete" ] && printf '%s\n' "incomplete:$incomplete"
    return 1
}

# kdr_python MIN MAX: as kdr_find_python, and installs the distribution's Python or what it lacks. Sets KDR_PYTHON.
kdr_python() {
    local found version
    if found=$(kdr_find_python "$1" "$2"); then
        KDR_PYTHON=$found
        return 0
    fi
    command -v apt-get >/dev/null || return 1
    if [ -z "$found" ] && ! [ -x /usr/bin/python3 ]; then
        kdr_packages python3 python3-venv || return 1
        found=$(kdr_find_python "$1" "$2") && KDR_PYTHON=$found && return 0
    fi
    if [ "${found#incomplete:/usr/bin/}" != "$found" ]; then
        kdr_packages "$(basename "${found#incomplete:}")-venv" || return 1
    else
        # An older distribution may have a newer Python beside its own.
        for version in 3.11 3.12 3.13; do
            [ "$(printf '%s\n' "$1" "$version" "$2" | sort -V | sed -n 2p)" = "$version" ] || continue
            kdr_package_known "python$version-venv" || continue
            kdr_packages "python$version" "python$version-venv" || return 1
            break
        done
    fi
    found=$(kdr_find_python "$1" "$2") || return 1
    KDR_PYTHON=$found
}

# kdr_venv NAME [MIN [MAX]]: the virtual environment of tests/requirements-NAME.txt; sets KDR_VENV.
# Returns 1 when there is no Python in that range.
kdr_venv() {
    local name=$1 version key directory
    kdr_python "${2:-3.11}" "${3:-3.13}" || {
        [ $# -eq 1 ] && kdr_die "a Python from 3.11 to 3.13 is needed; neither this machine nor its package sources have one"
        return 1
    }
    version=$("$KDR_PYTHON" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    key=$(cat "$KDR_ROOT/tests/requirements-constraints.txt" "$KDR_ROOT/tests/requirements-run.txt" \
        "$KDR_ROOT/tests/requirements-$name.txt" | sha256sum | cut -c1-12)
    directory=$KDR_CACHE/venv/$name-$version-$key
    if ! kdr_venv_whole "$directory"; then
        kdr_locked "venv-$name-$version" kdr_make_venv "$name" "$directory" "$KDR_PYTHON" || exit 1
    fi
    touch "$directory/.complete" 2>/dev/null || true
    KDR_VENV=$directory
    export KDR_VENV
}

# The interpreter it was made of may have gone since.
kdr_venv_whole() {
    [ -e "$1/.complete" ] && "$1/bin/python" -I -c 'import yaml' 2>/dev/null
}

kdr_make_venv() {
    local name=$1 directory=$2 python=$3 log
    kdr_venv_whole "$directory" && return 0
    log=$KDR_CACHE/log/venv-$name.log
    kdr_say "making the Python environment \"$name\" with $python"
    mkdir -p "$KDR_CACHE/venv"
    # A virtual environment holds its own path and cannot be renamed: here the stamp alone says that it is whole.
    rm -rf "$directory"
    if ! { "$python" -I -m venv "$directory" && kdr_pip "$directory/bin/python" install \
        -c "$KDR_ROOT/tests/requirements-constraints.txt" -r "$KDR_ROOT/tests/requirements-$name.txt"; } >"$log" 2>&1 9>&-; then
        tail -n 20 "$log" >&2
        kdr_die "could not make the Python environment \"$name\" (whole log: $log)"
    fi
    : >"$directory/.complete"
    # Environments of earlier requirements, not used for a month.
    find "$KDR_CACHE/venv" -mindepth 2 -maxdepth 2 -name .complete -mtime +30 -printf '%h\0' | xargs -0 -r rm -rf
}

kdr_pip() {
    local python=$1
    shift
    "$python" -m pip --disable-pip-version-check --no-input --quiet --retries 8 "$@" </dev/null
}

# kdr_lab_python [BACKEND [EDITION [STORAGE]]]: after kdr_venv run; sets KDR_LAB_PYTHON for the laboratory's servers. They run as an account of
# their own, which may be kept out of root's home.
kdr_lab_python() {
    local modules="psycopg, yaml" packages="python3-psycopg python3-yaml"
    [ "${1:-}" != mysql ] || modules="cryptography, pymysql, yaml" packages="python3-cryptography python3-pymysql python3-yaml"
    # Archives of the Enterprise Edition are encrypted.
    [ "${2:-}" != enterprise ] || modules="cryptography, $modules" packages="python3-cryptography $packages"
    [ "${3:-}" != s3 ] || modules="boto3, $modules" packages="python3-boto3 $packages"
    KDR_LAB_PYTHON=$KDR_VENV/bin/python
    # With Elasticsearch or OpenSearch everything runs as the caller: what they are made of lies in the cache.
    case ${1:-} in elasticsearch | opensearch) export KDR_LAB_PYTHON && return ;; esac
    # By way of a shell: setpriv itself may still enter every directory when it starts the program.
    # shellcheck disable=SC2016 # the name is the inner shell's
    if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups -- \
        sh -c 'exec "$0" -I -c "import $1"' "$KDR_LAB_PYTHON" "$modules" 2>/dev/null; then
        # shellcheck disable=SC2086 # a list
        kdr_packages $packages || kdr_die "no package source of this machine has $packages"
        KDR_LAB_PYTHON=/usr/bin/python3
    fi
    export KDR_LAB_PYTHON
}

# -- The collection where Ansible looks for it -------------------------------------------------------------------------

# A link to this checkout as ansible_collections/kestra_community/dr; sets KDR_COLLECTIONS.
kdr_collections() {
    local base link
    base=$KDR_CACHE/collections/$(printf '%s' "$KDR_ROOT" | sha256sum | cut -c1-12)
    link=$base/ansible_collections/kestra_community/dr
    if [ "$(readlink "$link" 2>/dev/null)" != "$KDR_ROOT" ]; then
        mkdir -p "$(dirname "$link")"
        # Made aside and renamed: at every moment there is a good link or none.
        ln -sfn "$KDR_ROOT" "$link.$$"
        mv -T "$link.$$" "$link"
    fi
    KDR_COLLECTIONS=$base
    export KDR_COLLECTIONS
}

# kdr_copy DIRECTORY: a real copy of the checkout (what git tracks or would track) as
# DIRECTORY/ansible_collections/kestra_community/dr, for tools that write beside what they read. Sets KDR_COPY.
kdr_copy() {
    KDR_COPY=$1/ansible_collections/kestra_community/dr
    rm -rf "$KDR_COPY"
    mkdir -p "$KDR_COPY"
    kdr_list_files "$KDR_ROOT" | tar -C "$KDR_ROOT" --null --no-recursion -T - -c | tar -C "$KDR_COPY" -x --no-same-owner
    [ -f "$KDR_COPY/galaxy.yml" ] || kdr_die "copying $KDR_ROOT to $KDR_COPY failed"
    export KDR_COPY
}

# NUL-separated names of the project's files.
kdr_list_files() {
    local name
    if [ -e "$1/.git" ] && kdr_packages git; then
        # Root reads the checkout of another user here, which git refuses by default.
        git -c safe.directory='*' -C "$1" ls-files -z -co --exclude-standard --deduplicate
    else
        (cd "$1" && find . -name .git -prune -o -name __pycache__ -prune -o -name .ansible -prune \
            -o \( -type f -o -type l \) -printf '%P\0')
    fi | while IFS= read -r -d '' name; do
        # Tracked, but deleted in the working tree.
        if [ -e "$1/$name" ] || [ -L "$1/$name" ]; then printf '%s\0' "$name"; fi
    done
}

# kdr_bundled_collections: containers.podman from the pinned package of collections; sets KDR_BUNDLED.
# Only that directory is unpacked: the whole package is half a gigabyte.
kdr_bundled_collections() {
    local key
    key=$(sha256sum <"$KDR_ROOT/tests/requirements-collections.txt" | cut -c1-12)
    KDR_BUNDLED=$KDR_CACHE/bundled-$key
    [ -d "$KDR_BUNDLED" ] || kdr_locked bundled kdr_unpack_bundled "$KDR_BUNDLED"
    export KDR_BUNDLED
}

kdr_unpack_bundled() {
    local directory=$1 temporary
    [ -d "$directory" ] && return 0
    kdr_python 3.11 3.13 || kdr_die "a Python from 3.11 to 3.13 is needed"
    kdr_venv run
    rm -rf "$KDR_CACHE"/bundled.new.*
    temporary=$KDR_CACHE/bundled.new.$$
    mkdir -p "$temporary"
    kdr_say "fetching the collection containers.podman"
    kdr_pip "$KDR_VENV/bin/python" download --no-deps --only-binary :all: -d "$temporary" \
        -r "$KDR_ROOT/tests/requirements-collections.txt" >"$KDR_CACHE/log/bundled.log" 2>&1 9>&- || {
        tail -n 20 "$KDR_CACHE/log/bundled.log" >&2
        kdr_die "could not fetch the bundled collections"
    }
    "$KDR_VENV/bin/python" -I - "$temporary" <<'PYTHON' || kdr_die "could not unpack the bundled collections"
import pathlib
import sys
import zipfile

directory = pathlib.Path(sys.argv[1])
wheel, = directory.glob("ansible-*.whl")
with zipfile.ZipFile(wheel) as archive:
    members = [name for name in archive.namelist() if name.startswith("ansible_collections/containers/podman/")]
    if not members:
        sys.exit("no containers.podman in %s" % wheel.name)
    archive.extractall(directory, members)
wheel.unlink()
PYTHON
    mv -T "$temporary" "$directory"
}
