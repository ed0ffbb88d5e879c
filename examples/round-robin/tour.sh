# shellcheck shell=bash disable=SC2154,SC2034 # what the demo sets before, and what it reads
# Sourced by the demo: how it tells, shows and checks.

bold='' faint='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
    bold=$'\e[1m' faint=$'\e[2m' plain=$'\e[0m'
fi
step=0
now='getting ready'
shown=''
# How many lines of one command's output are worth reading here.
most_lines=20

# chapter TITLE: the next step; what is about to happen and why comes on standard input.
chapter() {
    step=$((step + 1))
    now="preparing step $step"
    printf '\n%s%d. %s%s\n' "$bold" $step "$1" "$plain"
    cat
    echo
}

# show HOST COMMAND: shows the command, runs it there, shows what it wrote, and keeps that in $shown. Returns its status.
show() {
    local host=$1 status=0 lines
    now="this command on $1"
    printf '%s%s $ %s%s\n' "$bold" "$host" "$2" "$plain"
    shown=$(on "$host" timeout 120 bash -c "$2" </dev/null 2>&1 | tr -d '\0') || status=$?
    [ -z "$shown" ] || {
        mapfile -t lines <<<"$shown"
        printf '%s\n' "${lines[@]:0:most_lines}"
        [ "${#lines[@]}" -le "$most_lines" ] ||
            printf '%s(%d more lines)%s\n' "$faint" $((${#lines[@]} - most_lines)) "$plain"
    }
    return $status
}

# holds CLAIM COMMAND…: says the claim if it is true, and else ends the demo.
holds() {
    local claim=$1
    shift
    if "$@" >/dev/null 2>&1 </dev/null; then
        printf '%s=> %s%s\n' "$bold" "$claim" "$plain"
    else
        fail "this should be true and is not: $claim"
    fi
}

# Whether the last command's output has these words.
said() { [[ $shown == *"$1"* ]]; }

fail() {
    printf '\n%s\n' "demo: FAILED: $*" >&2
    exit 1
}

not() { ! "$@"; }
not_there() { ! on "$1" test -e "$2"; }
empty() { [ -z "$(on "$1" ls -A "$2")" ]; }

# Certificates are compared by their fingerprints; no certificate is never the same as anything.
same_leaf() { [ -n "$1" ] && [ "$1" = "$2" ]; }
fingerprint='openssl x509 -noout -fingerprint -sha256'
leaf_on() { on "$1" sh -c "$fingerprint -in /etc/letsencrypt/live/$site/cert.pem" || true; }
# By the last number of the address, IPv4 first.
leaf_shown() {
    local v4 v6
    v4=$(leaf_at "192.0.2.$1")
    v6=$(leaf_at "[2001:db8::$1]")
    [ "$v4" != "$v6" ] || echo "$v4"
}
leaf_at() { on laptop sh -c "openssl s_client -connect $1:443 -servername $site </dev/null 2>/dev/null | $fingerprint" || true; }
shows_newest() {
    holds "$1 shows the newest certificate, at both its addresses" same_leaf "$(leaf_on web1)" "$(leaf_shown "${number[$1]}")"
}

# How often every nginx was told to reload.
reloads() {
    local server
    for server in "${servers[@]}"; do on "$server" grep -c reconfiguring /var/log/nginx/error.log; done
}

# What each server shows, asked with openssl.
served() {
    show laptop "for address in 192.0.2.{1,2,3} [2001:db8::{1,2,3}]; do
    echo \"\$address \$(openssl s_client -connect \$address:443 -servername $site </dev/null 2>/dev/null |
        openssl x509 -noout -serial -enddate | xargs)\"
done"
}
