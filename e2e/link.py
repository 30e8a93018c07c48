"""Joins two network namespaces by a link of a given speed and delay, with TCP of the real kernel on it.

usage: link.py BITS_PER_SECOND ROUND_TRIP_SECONDS

Prints a line `NAMESPACE ADDRESS` for each end, then forwards packets until it is killed. It serves where
the kernel has no netem.
"""

import collections
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time

MTU = 1500
# What waits for the link at most, in seconds of its speed; what is more is dropped.
QUEUE = 0.1
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C


def end(address):
    """Moves this thread to a namespace of its own, with one interface, and returns the other side of it."""
    os.unshare(os.CLONE_NEWNET)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = b"link"
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name, IFF_TUN_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in (SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0"):
            inet = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, struct.pack("16s16s8x", name, inet))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, 0x41))
    return tun


def start(address, ends):
    ready = threading.Event()

    def live():
        tun = end(address)
        namespace = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        ends.append((tun, namespace, address))
        ready.set()
        # The namespace lasts as long as this thread.
        threading.Event().wait()

    threading.Thread(target=live, daemon=True).start()
    if not ready.wait(10):
        sys.exit("error: no network namespace with a tun device can be made; this needs root")


def forward(one, other, rate, delay):
    queues = {one: collections.deque(), other: collections.deque()}
    opposite = {one: other, other: one}
    free = {one: 0.0, other: 0.0}
    while True:
        now = time.monotonic()
        due = [queue[0][0] for queue in queues.values() if queue]
        timeout = max(0.0, min(due) - now) if due else None
        readable, _, _ = select.select(list(queues), [], [], timeout)
        now = time.monotonic()
        for tun in readable:
            for _ in range(64):
                try:
                    packet = os.read(tun, MTU)
                except BlockingIOError:
                    break
                sent = max(now, free[tun]) + len(packet) * 8 / rate
                if sent - now <= QUEUE:
                    free[tun] = sent
                    queues[tun].append((sent + delay, packet))
        for tun, queue in queues.items():
            while queue and queue[0][0] <= now:
                os.write(opposite[tun], queue.popleft()[1])


def main(rate, round_trip):
    ends = []
    for address in "10.77.0.1", "10.77.0.2":
        start(address, ends)
    for _, namespace, address in ends:
        print(namespace, address, flush=True)
    forward(ends[0][0], ends[1][0], float(rate), float(round_trip) / 2)


main(*sys.argv[1:])
