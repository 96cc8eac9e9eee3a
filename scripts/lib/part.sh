# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# For the parts of scripts/test, to be sourced first. A part prints what it ran as "detail: …" and exits with 0; any other
# exit code is a failure ("error: …" says why), kdr_skip is a skip. It may also print "skipped test: …", "not run: …" and
# "left to --full: …", which the summary collects.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# Removed at the end of the part.
KDR_LEFTOVERS=()
trap 'rm -rf "${KDR_LEFTOVERS[@]}"' EXIT
# Run by hand, a part has no run directory yet.
if [ -z "${KDR_PART_DIR:-}" ]; then
    KDR_PART_DIR=$(mktemp -d)
    KDR_LEFTOVERS+=("$KDR_PART_DIR")
fi
export KDR_FULL=${KDR_FULL:-0}
# Ansible's own files (temporary directories, caches) of this part alone.
export ANSIBLE_HOME=$KDR_PART_DIR/ansible ANSIBLE_NOCOLOR=1 NO_COLOR=1

# Called last, with what was done.
kdr_detail() { printf 'detail: %s\n' "$*"; }

# Options of pytest for tests on real servers. Files are shared out whole, since a file's tests share a server, in the
# order of tests/integration/conftest.py. More of them than cores: they wait for servers as often as they compute.
# shellcheck disable=SC2034  # used by the parts
KDR_SHARED_OUT=(-n 3 --dist loadfile --no-loadscope-reorder)

# kdr_pytest NAME ARGUMENT...: pytest of the environment KDR_VENV in the checkout. Fails when no test passed.
kdr_pytest() {
    local name=$1 rc=0 base
    shift
    kdr_collections
    # Not pytest's own place: every pytest that starts closes that to other accounts, as which servers of a test run.
    # Short, because the names of sockets must be.
    base=$(mktemp -d /tmp/kdr-XXXXXX)
    chmod 711 "$base"
    KDR_LEFTOVERS+=("$base")
    (
        cd "$KDR_ROOT"
        export PATH=$KDR_VENV/bin:$PATH
        export ANSIBLE_COLLECTIONS_PATH=$KDR_COLLECTIONS PYTHONPATH=$KDR_COLLECTIONS PYTHONDONTWRITEBYTECODE=1
        # Interpreter discovery on localhost may find a Python without the libraries.
        export ANSIBLE_PYTHON_INTERPRETER=$KDR_VENV/bin/python
        "$KDR_VENV/bin/python" -m pytest -c tests/pytest.ini --rootdir tests -v --durations 25 -p no:cacheprovider --basetemp "$base/t" \
            -o junit_logging=system-out \
            --junitxml "$KDR_PART_DIR/$name.xml" "$@"
    ) || rc=$?
    case $rc in
        0 | 1) ;;
        5) kdr_die "$name: no test was found" ;;
        *) kdr_die "$name: pytest ended with exit code $rc" ;;
    esac
    "$KDR_VENV/bin/python" -I "$KDR_ROOT/scripts/lib/junit_summary.py" "$name" "$KDR_PART_DIR/$name.xml"
}
