"""A web user in wrong hands: swaps what it owns for links, pipes and directories, again and again.

usage: webroot_owner.py WEBROOT TOKEN OUTSIDE     run as the owner of WEBROOT; ends when killed
"""

import ctypes
import os
import random
import sys

webroot, token, outside = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
known, acme = f"{webroot}/.well-known", f"{webroot}/.well-known/acme-challenge"
spare = f"{webroot}/spare"
os.makedirs(acme, exist_ok=True)
os.makedirs(spare, exist_ok=True)
# By handle, so that he who looks into it does not follow his own links.
own = os.open(acme, os.O_RDONLY | os.O_DIRECTORY)


def exchange(one, other):
    """In one step: whoever looks finds the one or the other."""
    return libc.renameat2(-100, one.encode(), -100, other.encode(), 2)


def plant(path, kind):
    if kind == "link":
        os.symlink(outside, path)
    elif kind == "file link":
        os.symlink(f"{outside}/{token}", path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "full directory":
        os.mkdir(path)
        os.symlink(f"{outside}/{token}", f"{path}/{token}")
    elif kind == "second name":
        os.link(f"{outside}/{token}", path)
    else:
        with open(path, "w") as file:
            file.write("theirs")


kinds = ["link", "file link", "pipe", "directory", "full directory", "second name", "file"]
for number, kind in enumerate(kinds):
    try:
        plant(f"{spare}/{number}", kind)
    except OSError:
        pass
print("ready", flush=True)
while True:
    place = f"{spare}/{random.randrange(len(kinds))}"
    target = random.choice([known, acme, f"{acme}/{token}", f"{acme}/{token}"])
    if random.random() < 0.2:
        # The file that is just being written, under its temporary name.
        try:
            names = (entry.name for entry in os.scandir(own) if entry.name.startswith(".certcast-"))
            target = f"{acme}/{next(names, token)}"
        except OSError:
            pass
    exchange(place, target)
    if random.random() < 0.7:
        exchange(place, target)
    if random.random() < 0.05:
        try:
            os.rename(place, f"{acme}/{token}")
            plant(place, random.choice(kinds))
        except OSError:
            pass
    if random.random() < 0.02:
        os.makedirs(acme, exist_ok=True) if not os.path.lexists(known) else None
