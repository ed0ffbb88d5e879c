# shellcheck shell=bash disable=SC2154 # what the demo sets before
# Sourced by the demo: the machines it runs on. Each is a network and a mount namespace of this machine, made by the
# tests' own scripts; nothing of them has a name or a file here, and all of them die with the demo, however it dies.

declare -A holder number
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# raise_hosts NAME=NUMBER…: machines NAME at 192.0.2.NUMBER and 2001:db8::NUMBER(hex).
raise_hosts() {
    local host word name pid
    coproc lab {
        exec setpriv --pdeathsig KILL unshare --fork --kill-child --pid --net --mount --uts --ipc \
            "$repository/tests/it/lab/init.sh"
    }
    # shellcheck disable=SC2154 # coproc sets it
    lab_process=$lab_PID
    # Orders go through 8, answers come through 9. No other process may hold the far end of 8: its end is the lab's.
    exec 8>&"${lab[1]}" 9<&"${lab[0]}"
    local from=${lab[0]} to=${lab[1]}
    exec {from}<&- {to}>&-
    # shellcheck disable=SC2034 # whether process 1 is gone is asked at the end
    read -r -t 20 word init <&9
    for host; do
        number[${host%=*}]=${host#*=}
        echo "host ${host%=*} ${host#*=} $#" >&8
    done
    for host; do
        read -r -t 20 word name pid <&9
        [ "$word" = host ]
        holder[$name]=$pid
    done
}

# Ends them all: process 1 goes at the end of its orders, and everything else with it.
drop_hosts() {
    [ -n "${lab_process-}" ] || return 0
    exec 8>&-
    wait "$lab_process" || true
    lab_process=
}

# on HOST COMMAND…: as root there, with nothing of this machine's environment.
on() {
    local pid=${holder[$1]}
    shift
    nsenter --target "$pid" --mount --net --uts --ipc --pid --root --wd -- env -i -C /root HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin REQUESTS_CA_BUNDLE=/etc/lab-root.pem \
        "$@" 8>&- 9<&-
}

# put HOST FILE: writes a file there from standard input.
# shellcheck disable=SC2016 # expanded there
put() { on "$1" sh -c 'mkdir -p "${1%/*}" && cat >"$1"' put "$2"; }

# start HOST LOG COMMAND…: a daemon that stays in the foreground.
start() {
    local host=$1 log=$2
    shift 2
    # shellcheck disable=SC2016 # expanded there
    {
        trap - ERR
        on "$host" sh -c 'log=$1; shift; exec "$@" >"$log" 2>&1' start "$log" "$@"
    } </dev/null 2>/dev/null 8>&- 9<&- &
    disown
}

# await HOST PORT: until something listens there, 20 seconds at most.
await() {
    local deadline=$((SECONDS + 20)) port
    port=$(printf ':%04X' "$2")
    until grep -q "^ *[0-9]*: [0-9A-F]*$port [0-9A-F:]* 0A" "/proc/${holder[$1]}/net/tcp" "/proc/${holder[$1]}/net/tcp6"; do
        [ $SECONDS -lt $deadline ] || {
            echo "nothing listens on $1's port $2" >&2
            return 1
        }
        sleep 0.05
    done
}

raise_web() {
    put "$1" /etc/nginx/nginx.conf <"$here/nginx.conf"
    echo "hello from $1" | put "$1" /var/www/html/index.html
    on "$1" nginx
    on "$1" sh -c 'cat >>/root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys' \
        < <(on laptop cat /root/.ssh/id_ed25519.pub)
    on "$1" /usr/sbin/sshd -f /dev/null -E /var/log/sshd.log -o UsePAM=no -o PasswordAuthentication=no \
        -o Subsystem='sftp /usr/lib/openssh/sftp-server'
    await "$1" 22
    await "$1" 80
    printf '%s %s\n' "$1" "$(on "$1" cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)" |
        on laptop sh -c 'cat >>/root/.ssh/known_hosts'
}

# raise_dns NAME HOST…: NAME has the addresses of all these hosts, in another order for each who asks.
raise_dns() {
    local name=$1 host
    shift
    {
        echo "192.0.2.${number[ca]} ca.test"
        for host; do echo "192.0.2.${number[$host]} $host"; done
        for host; do printf '192.0.2.%d %s\n2001:db8::%x %s\n' "${number[$host]}" "$name" "${number[$host]}" "$name"; done
    } | put dns /etc/records
    start dns /var/log/dnsmasq.log dnsmasq --keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv \
        --local=/#/ --addn-hosts=/etc/records --user=root --group=root --pid-file
    await dns 53
}

# A CA that everybody here trusts, with a certificate of its own for its door.
raise_ca() {
    # shellcheck disable=SC2016 # expanded there
    on ca sh -euc '
        mkdir /etc/pebble && cd /etc/pebble
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=lab root" \
            -keyout root.key -out root.pem
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca.test \
            -CA root.pem -CAkey root.key -addext subjectAltName=DNS:ca.test \
            -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem' 2>/dev/null
    put ca /etc/pebble/config.json <<END
{ "pebble": { "listenAddress": "192.0.2.${number[ca]}:14000", "managementListenAddress": "192.0.2.${number[ca]}:15000",
  "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem", "httpPort": 80, "tlsPort": 443,
  "ocspResponderURL": "", "externalAccountBindingRequired": false, "certificateValidityPeriod": 7776000 } }
END
    start ca /var/log/pebble.log env PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0 \
        pebble -config /etc/pebble/config.json -dnsserver "192.0.2.${number[dns]}:53"
    await ca 14000
}

trust_the_ca() {
    local host
    for host; do put "$host" /etc/lab-root.pem < <(on ca cat /etc/pebble/root.pem); done
}
