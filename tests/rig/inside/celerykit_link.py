"""Take a container's network link down or up: ``python celerykit_link.py {down | up}``, with NET_ADMIN inside it."""

import fcntl
import socket
import struct
import sys

LINK = b"eth0"
GET_FLAGS, SET_FLAGS = 0x8913, 0x8914
UP = 1

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
    asked = fcntl.ioctl(anything, GET_FLAGS, struct.pack("16sH14x", LINK, 0))
    (flags,) = struct.unpack_from("H", asked, 16)
    flags = flags | UP if sys.argv[1] == "up" else flags & ~UP
    fcntl.ioctl(anything, SET_FLAGS, struct.pack("16sH14x", LINK, flags))
