# shellcheck shell=bash
# Sourced by tests/run, .ci/run, benches/prepare.sh, packaging and examples/round-robin/demo: what they need, found or installed by apt, and cargo.
#
# prepare WHO GROUP…     groups: build, lab, tests, checks, browser, benches
# find_cargo WHO

# What is called, and the package it comes in.
needed_for() {
    case $1 in
    build)
        echo cc:gcc make:make perl:perl pkg-config:pkg-config /etc/ssl/certs/ca-certificates.crt:ca-certificates
        ;;
    lab)
        echo bash:bash setpriv:util-linux unshare:util-linux nsenter:util-linux mount:mount ip:iproute2 hostname:hostname
        echo sudo:sudo
        echo nginx:nginx-light sshd:openssh-server ssh:openssh-client
        echo /usr/lib/openssh/sftp-server:openssh-sftp-server dnsmasq:dnsmasq-base
        echo /usr/bin/certbot:certbot pebble:pebble curl:curl openssl:openssl mkfs.ext4:e2fsprogs
        ;;
    tests)
        echo git:git strace:strace systemd-analyze:systemd /usr/bin/python3:python3 '/usr/lib/python3*/ensurepip:python3-venv'
        echo apache2ctl:apache2 haproxy:haproxy
        echo influxd:influxdb prometheus-alertmanager:prometheus-alertmanager '/usr/lib/python3/dist-packages/aiosmtpd:python3-aiosmtpd'
        echo groff:groff-base zsh:zsh fish:fish promtool:prometheus prometheus-node-exporter:prometheus-node-exporter
        ;;
    checks) echo shellcheck:shellcheck ;;
    browser) echo chromium:chromium ;;
    benches)
        echo pgrep:procps hyperfine:hyperfine gnuplot:gnuplot-nox time:time rsync:rsync /usr/bin/ansible-playbook:ansible-core
        echo perf:linux-perf
        ;;
    esac
}

# The packages that are missing for these groups, one a line.
missing_for() {
    local group pair
    for group; do
        for pair in $(needed_for "$group"); do
            command -v "${pair%%:*}" >/dev/null || compgen -G "${pair%%:*}" >/dev/null || echo "${pair##*:}"
        done
    done | sort -u
}

prepare() {
    local who=$1 packages
    shift
    [ "$(id -u)" = 0 ] || {
        echo "$who: the lab makes namespaces, mounts and cables and so needs root; run it with sudo, or in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN" >&2
        return 1
    }
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    mapfile -t packages < <(missing_for "$@")
    [ "${#packages[@]}" = 0 ] || install_packages "$who" "${packages[@]}"
}

# In a process of its own: whoever kills the caller lets apt end in order, and the policy goes with it.
install_packages() (
    set -eu
    who=$1
    shift
    command -v apt-get >/dev/null || {
        echo "$who: missing, and there is no apt-get to install it: $*" >&2
        exit 1
    }
    echo "$who: installing $*"
    # A package's daemon must not start on this machine: while apt runs, a policy forbids it. Another's policy stays.
    policy=/usr/sbin/policy-rc.d
    ours='# certcast: no daemon starts while packages are installed'
    if [ ! -e $policy ] || grep -qxF "$ours" $policy; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\n%s\nexit 101\n' "$ours" >$policy
        chmod 755 $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
    # certbot's package brings a timer, which would renew nothing but has no business here either.
    if [ -d /run/systemd/system ]; then
        case " $* " in *" certbot "*) systemctl disable --quiet --now certbot.timer || true ;; esac
    fi
)

# cargo may be where rustup puts it, and under sudo that is somebody else's home.
find_cargo() {
    local home
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
        if ! command -v cargo >/dev/null && [ -x "$home/.cargo/bin/cargo" ]; then
            PATH=$PATH:$home/.cargo/bin
            export CARGO_HOME=${CARGO_HOME:-$home/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
        fi
    done
    command -v cargo >/dev/null || {
        echo "$1: cargo is missing: install a Rust toolchain first (Cargo.toml says from which version on)" >&2
        return 1
    }
}
