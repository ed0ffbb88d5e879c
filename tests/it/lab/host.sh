#!/bin/bash
# One host: called in fresh network, mount, uts and ipc namespaces, it builds a machine of its own and then only holds it.
#
# usage: host.sh LAB NAME NUMBER WEB [DIRECTORY…]     WEB web hosts are there, from 1 on; directories of the machine to show
#                                                     at the same place, read-only
set -eu
lab=$1 name=$2 number=$3 web=$4
shift 4

read -r holder _ </proc/self/stat
hex=$(printf %02x "$number")

# The cable. Its far end is named after the host and sits in the bridge. The kernel wants our number as the lab knows it.
nsenter --target "$lab" --net ip -batch - <<END
link add $name type veth peer name eth0 address 02:00:00:00:00:$hex netns $$
link set $name master bridge up
END
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_ra

# Every neighbour is known for good: behind a cut cable there is silence, as behind a router,
# and not "no route to host" after three seconds.
{
    printf '%s\n' 'link set lo up' 'link set eth0 up' "addr add 192.0.2.$number/24 dev eth0" \
        "addr add 2001:db8::$hex/64 dev eth0 nodad"
    for ((neighbour = 1; neighbour < 255; neighbour++)); do
        ((neighbour != number && (neighbour <= web || neighbour >= 240))) || continue
        printf -v mac '02:00:00:00:00:%02x' "$neighbour"
        printf 'neigh add 192.0.2.%d lladdr %s dev eth0 nud permanent\n' "$neighbour" "$mac"
        printf 'neigh add 2001:db8::%x lladdr %s dev eth0 nud permanent\n' "$neighbour" "$mac"
    done
} | ip -batch -

# The new root grows on /sys, the one place where nobody keeps a repository.
mount -t tmpfs -o mode=755,size=512m "$name" /sys
cd /sys
mkdir -p usr proc sys dev/pts dev/shm old home opt srv mnt \
    etc/certcast etc/letsencrypt etc/nginx/conf.d etc/ssl etc/ssh \
    run/sshd run/lock root/.ssh \
    var/lib/certcast var/lib/letsencrypt var/lib/nginx var/log/letsencrypt var/log/nginx var/cache var/www/html
mkdir -m 1777 tmp var/tmp
chmod 1777 dev/shm
chmod 700 etc/certcast root root/.ssh var/lib/certcast
cp -a /bin /sbin /lib* .
ln -s ../run var/run
ln -s ../run/lock var/lock

mount --rbind /usr usr
mount -t tmpfs -o mode=755 local usr/local/bin
mount -o remount,bind,ro usr
mount --rbind /etc/ssl etc/ssl
mount -o remount,bind,ro etc/ssl
mount -t proc proc proc

# A /dev without /dev/log: there is no journal here.
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

for file in passwd group services protocols ld.so.cache ld.so.conf localtime mime.types alternatives python3 ssh/moduli \
    pam.d security login.defs apache2 haproxy; do
    if [ -e "/etc/$file" ]; then cp -a "/etc/$file" "etc/$file"; fi
done
# Of the manual there is none.
rm -f etc/alternatives/*.gz
cp -a /etc/nginx/mime.types etc/nginx
# sshd without PAM lets nobody in whose password is locked by "!".
while IFS=: read -r user _; do echo "$user:*:19000:0:99999:7:::"; done <etc/passwd >etc/shadow
chmod 600 etc/shadow
echo "$name" >etc/hostname
echo 'hosts: files dns' >etc/nsswitch.conf
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' "192.0.2.$number $name" "2001:db8::$hex $name" >etc/hosts
printf '%s\n' 'nameserver 192.0.2.253' 'options timeout:2 attempts:2' >etc/resolv.conf
hostname "$name"

for directory; do
    mkdir -p ".$directory"
    mount --bind "$directory" ".$directory"
    mount -o remount,bind,ro ".$directory"
done

ssh-keygen -q -t ed25519 -N '' -C "$name" -f etc/ssh/ssh_host_ed25519_key

pivot_root . old
cd /
umount -l /old
rmdir /old
echo "host $name $holder"
exec sleep infinity
