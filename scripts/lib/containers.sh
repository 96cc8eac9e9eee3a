# shellcheck shell=bash
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Debian root file systems and systemd hosts without an image registry. To be sourced after setup.sh.

# kdr_debian_sources SUITE: prints sources.list lines for a Debian release (bookworm, trixie), taken from where this
# machine gets its own packages: same mirrors, same pockets (updates, security), other release.
kdr_debian_sources() {
    local suite=$1 lines
    # shellcheck disable=SC2016 # the names are apt's
    lines=$(apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(SUITE)|$(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' -v suite="$suite" '
            $1 == "Debian" && $5 == "main" {
                pocket = $3
                sub(/^[a-z]+/, "", pocket)                      # "", "-updates", "-security"
                if (pocket != "" && pocket != "-updates" && pocket != "-security") next
                line = "deb " $2 " " suite pocket " main"
                if (!seen[line]++) print line
            }')
    if ! printf '%s\n' "$lines" | grep -q " $suite main\$"; then
        return 1
    fi
    printf '%s\n' "$lines"
}

# kdr_need_debian_sources SUITE: the same; reads the package lists first when the machine has none yet.
kdr_need_debian_sources() {
    kdr_debian_sources "$1" && return 0
    kdr_locked apt kdr_apt_update
    kdr_debian_sources "$1" || {
        kdr_say "this machine's package sources name no Debian mirror"
        return 2
    }
}

# kdr_apt_settings: how this machine reaches its mirrors (proxies, time-outs, checks of dates), as apt.conf text.
kdr_apt_settings() {
    apt-config dump --format '%F "%v";%n' Acquire |
        grep -vE '^Acquire::(IndexTargets|cdrom|Languages|Changelogs|GzipIndexes|CompressionTypes)' | grep -vE ' "";$' || true
}

# kdr_rootfs SUITE TAR PACKAGE...: a minimal root file system of that release as a tar archive.
kdr_rootfs() {
    local suite=$1 tar=$2 sources settings temporary include=()
    shift 2
    if [ $# -gt 0 ]; then
        include=("--include=$(IFS=, && printf '%s' "$*")")
    fi
    kdr_packages mmdebstrap || return $?
    sources=$(kdr_need_debian_sources "$suite") || return $?
    settings=$(mktemp "$KDR_CACHE/apt.XXXXXX")
    kdr_apt_settings >"$settings"
    temporary=$tar.new.$$
    kdr_say "building a Debian root file system ($suite${*:+ with $*})"
    # Owners in the archive must be right, so this runs as root or in a user namespace; --format names what the
    # temporary name does not.
    if ! printf '%s\n' "$sources" | mmdebstrap --variant=minbase --format=tar "${include[@]}" --aptopt="$settings" \
        "$suite" "$temporary" - >"$KDR_CACHE/log/rootfs-$suite.log" 2>&1 9>&-; then
        tail -n 20 "$KDR_CACHE/log/rootfs-$suite.log" >&2
        rm -f "$temporary" "$settings"
        kdr_die "could not build a root file system of $suite"
    fi
    rm -f "$settings"
    mv "$temporary" "$tar"
}

# -- podman ------------------------------------------------------------------------------------------------------------

# Settings that also work inside a virtual machine or container without delegated cgroups. They are ours alone: the
# machine's own containers.conf stays as it is.
kdr_podman_settings() {
    local file=$KDR_CACHE/containers.conf
    cat >"$file.$$" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"

[network]
network_backend = "netavark"
CONF
    mv "$file.$$" "$file"
    export CONTAINERS_CONF=$file
}

# kdr_podman: makes podman usable or says why it is not (KDR_WHY, return 1). Proved by running a container.
kdr_podman() {
    local output
    kdr_podman_settings
    export KDR_WHY=""
    if [ "$(id -u)" -ne 0 ]; then
        KDR_WHY="containers with systemd need root here"
        return 1
    fi
    if ! kdr_packages podman runc netavark aardvark-dns nftables iptables uidmap; then
        KDR_WHY="podman cannot be installed from this machine's package sources"
        return 1
    fi
    if ! output=$(kdr_probe 2>&1); then
        KDR_WHY="podman containers cannot start here: $(printf '%s' "$output" | grep -v '^-- ' | tail -n 1 | cut -c1-200)"
        return 1
    fi
}

# A container of one static-enough program on a bridge network: what every scenario needs, without any image.
kdr_probe() {
    local root rc=0 library network
    root=$(mktemp -d "$KDR_CACHE/probe.XXXXXX") || return 1
    network=kestra-dr-probe-$$
    mkdir -p "$root/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
    cp /bin/true "$root/bin/true"
    ldd /bin/true | grep -o '/[^ )]*' | sort -u | while IFS= read -r library; do
        mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
    done
    podman network create "$network" >/dev/null || rc=$?
    if [ $rc -eq 0 ]; then
        timeout 120 podman run --rm --network "$network" --rootfs "$root" /bin/true || rc=$?
        podman network rm -f "$network" >/dev/null 2>&1
    fi
    rm -rf "$root"
    return $rc
}

KDR_HOST_PACKAGES=(
    systemd systemd-sysv dbus openssh-server python3 python3-apt iproute2 ca-certificates curl sudo procps cron acl
)

# kdr_host_image SUITE [PACKAGE...]: the image of a host that boots systemd, with PACKAGEs already installed (each
# scenario would fetch them again otherwise); sets KDR_IMAGE. Built once, and again when what goes into it changes.
kdr_host_image() {
    local suite=$1 key
    shift
    # After a month it is built anew, with the packages of the day.
    podman image prune -a -f --filter label=kestra-dr.host --filter until=720h >/dev/null 2>&1 || true
    key=$(printf '%s\n' "2 $suite" "${KDR_HOST_PACKAGES[@]}" "$@" | sha256sum | cut -c1-12)
    KDR_IMAGE=localhost/kestra-dr-host:$suite-$key
    podman image exists "$KDR_IMAGE" || kdr_locked "image-$suite" kdr_build_host_image "$KDR_IMAGE" "$suite" "$@"
}

kdr_build_host_image() {
    local image=$1 suite=$2 tar
    shift 2
    podman image exists "$image" && return 0
    rm -f "$KDR_CACHE"/rootfs-host-"$suite".tar*
    tar=$KDR_CACHE/rootfs-host-$suite.tar
    kdr_rootfs "$suite" "$tar" "${KDR_HOST_PACKAGES[@]}" "$@" || return $?
    podman import -q -c 'CMD ["/lib/systemd/systemd"]' -c 'STOPSIGNAL SIGRTMIN+3' \
        -c 'LABEL kestra-dr.host=1' "$tar" "$image" >/dev/null 9>&- ||
        kdr_die "podman could not import the image of $suite"
    rm -f "$tar"
}

# Containers, networks and volumes of molecule runs whose process has gone; their names begin with kestra-dr-PID- (see
# molecule/shared/names.yml).
kdr_sweep_containers() {
    local kind name pid
    {
        podman ps -a --format 'container {{.Names}}'
        podman network ls --format 'network {{.Name}}'
        podman volume ls --format 'volume {{.Name}}'
    } | sed -nE 's/^(container|network|volume) (kestra-dr-([0-9]+)-.*)/\1 \2 \3/p' | while read -r kind name pid; do
        # 0: made by hand, see there.
        if [ "$pid" -eq 0 ] || kill -0 "$pid" 2>/dev/null; then continue; fi
        case $kind in
            container) podman rm -f -t 2 "$name" >/dev/null ;;
            network) podman network rm -f "$name" >/dev/null ;;
            volume) podman volume rm -f "$name" >/dev/null ;;
        esac
    done
}
