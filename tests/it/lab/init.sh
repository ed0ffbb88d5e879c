#!/bin/bash
# Process 1 of a lab: owns the bridge, starts hosts when told, and is what everything in the lab dies with.
#
# It reads one order a line and ends at the end of its input, which is the death of the test that holds the other end.
# When it ends the kernel kills every process of the pid namespace, and with the last process of each host that host's
# mounts, cable and network go too. Nothing here has a name outside.
set -eu

# /proc is still the machine's: the first word is our number as the test knows it.
read -r lab _ </proc/self/stat

sysctl() { echo "$2" >"/proc/sys/$1"; }
sysctl net/ipv6/conf/default/accept_dad 0
sysctl net/ipv6/conf/default/accept_ra 0

ip -batch - <<END
link set lo up
link add bridge address 02:00:00:00:00:fe type bridge forward_delay 0 mcast_snooping 0
addr add 192.0.2.254/24 dev bridge
addr add 2001:db8::fe/64 dev bridge nodad
link set bridge up
END
echo "lab $lab"

while read -r order arguments; do
    # shellcheck disable=SC2086 # the arguments are words without spaces
    case $order in
    host) unshare --net --mount --uts --ipc "${BASH_SOURCE[0]%/*}/host.sh" "$lab" $arguments </dev/null & ;;
    esac
done
