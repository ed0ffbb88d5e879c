"""Writes a line for everything that happens in directories, as the kernel tells it.

usage: inotify.py OUTPUT DIRECTORY…     OUTPUT begins with "ready"; ends when killed
"""

import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
# Without being closed unwritten, which only follows an opening.
EVENTS = {1: "read", 2: "written", 4: "attributes", 8: "closed", 32: "opened", 64: "moved from", 128: "moved to"}
EVENTS |= {256: "created", 512: "deleted"}
watch = libc.inotify_init1(0)
places = {}
for directory in sys.argv[2:]:
    number = libc.inotify_add_watch(watch, directory.encode(), sum(EVENTS))
    assert number >= 0, os.strerror(ctypes.get_errno())
    places[number] = directory
with open(sys.argv[1], "w", buffering=1) as output:
    print("ready", file=output)
    while True:
        events = os.read(watch, 65536)
        while events:
            number, mask, _, length = struct.unpack("iIII", events[:16])
            name = events[16 : 16 + length].rstrip(b"\0").decode()
            what = [word for bit, word in EVENTS.items() if mask & bit]
            print(" and ".join(what) or hex(mask), f"{places.get(number)}/{name}", file=output)
            events = events[16 + length :]
