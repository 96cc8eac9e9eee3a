#!/usr/bin/env bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# kill_when_down.sh LOG CONTAINER... -- COMMAND...: runs COMMAND and kills it (-9) as soon as kestra.service is down in
# every container. Fails when COMMAND ends before.
set -u
log=$1
shift
containers=()
while [ "$1" != -- ]; do
    containers+=("$1")
    shift
done
shift
setsid "$@" >"$log" 2>&1 </dev/null &
pid=$!
while kill -0 "$pid" 2>/dev/null; do
    down=0
    for container in "${containers[@]}"; do
        state=$(podman exec "$container" systemctl show --property=ActiveState --value kestra.service)
        [ "$state" != inactive ] || down=$((down + 1))
    done
    if [ "$down" -eq "${#containers[@]}" ]; then
        kill -KILL -- "-$pid"
        wait "$pid" 2>/dev/null
        echo killed
        exit 0
    fi
done
cat "$log"
exit 1
