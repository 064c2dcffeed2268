#!/usr/bin/env python3
"""Mail over a line that loses packets: the gateway's own TCP beside the kernel's, which Postfix has, round by round.

A server of the office, the gateway or Postfix, stands between a LAN and a path to a server elsewhere, which is Postfix in
both cases. The path is a process of this program: it takes frames from one side, loses 1 % of the packets by seeded dice,
each way, and gives the others to the other side 25 ms later. A message comes in from elsewhere until it is taken, and goes
out from the LAN until it is in the mailbox elsewhere. It needs root; `./dev lossy-mail` installs what it calls and builds
what it measures.
"""

import argparse
import collections
import contextlib
import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_mail import postfix_runs
from harness import (LAN, PREFIX, RTR, WAN, background, cable, eventually, gatepost_runs, in_turn, ip, namespaces, plug,
                     report, run)

FAR = f"{PREFIX}-far"
INSIDE, OUTSIDE, ELSEWHERE = "192.168.1.1", "203.0.113.10", "203.0.113.1"
LOSS, ONE_WAY_SECS = 0.01, 0.025
# Octets of a message, and how many of them one after the other.
MESSAGES = {"4 KiB": (4 << 10, 10), "5 MiB": (5 << 20, 1)}
ETH_P_ALL, ETH_P_IP = 3, b"\x08\x00"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000


class Gatepost:
    """The gateway. The other side of its WAN port's TAP device is in a namespace of the path's."""

    END = f"device:{WAN}"

    def __init__(self, program, directory):
        self.program, self.config = program, directory / "gatepost.toml"
        self.config.write_text(f"""
            system.state_dir = "{directory}/state"
            system.control_socket = "{directory}/control.sock"
            network.mode = "nat"
            lan.ports = [{{ tap = "eth0", netns = "{LAN}", driver = "plain" }}]
            wan.ports = [{{ tap = "eth0", netns = "{WAN}", driver = "plain" }}]
            wan.address = "{OUTSIDE}/24"
            wan.gateway = "{ELSEWHERE}"
            users = [{{ name = "anna" }}]
            mail.routes = [{{ domain = "far.example", to = "{ELSEWHERE}" }}]
            mail.limits.wan_messages_per_minute = 10000
            """)

    @contextlib.contextmanager
    def serves(self):
        with namespaces(LAN, WAN), gatepost_runs(self.program, self.config):
            plug(LAN, "eth0", "192.168.1.10/24")
            ip(WAN, "link", "set", "eth0", "up")
            yield


class Postfix:
    """Postfix, with the kernel's TCP: the path's device is its own."""

    END = f"tap:{RTR}"

    def __init__(self, directory):
        self.directory = directory

    @contextlib.contextmanager
    def serves(self):
        with namespaces(LAN, RTR):
            cable(LAN, "eth0", RTR, "eth1")
            plug(LAN, "eth0", "192.168.1.10/24")
            plug(RTR, "eth1", f"{INSIDE}/24")
            with postfix_runs(self.directory, RTR, f"""
                    myhostname = smtp.office.example
                    virtual_mailbox_domains = office.example
                    virtual_mailbox_maps = inline:{{anna@office.example=anna/}}
                    relayhost = [{ELSEWHERE}]
                    disable_dns_lookups = yes
                    """):
                yield


def hand_in(netns, server, octets, count, recipient):
    run("smtp-source", "-l", str(octets), "-m", str(count), "-f", "b@elsewhere.example", "-t", recipient,
        f"inet:{server}:25", netns=netns, timeout=300)


def measure(make, mailbox, seed, congestion):
    """Seconds a message, in and out."""
    results = {}
    arrived = lambda: len(os.listdir(mailbox / "new")) if (mailbox / "new").is_dir() else 0
    with tempfile.TemporaryDirectory(prefix="lossy-mail-", dir="target") as directory:
        server = make(Path(directory).resolve())
        with server.serves(), path(f"tap:{FAR}", server.END, seed):
            join_path(FAR, ELSEWHERE, congestion)
            if server.END.startswith("tap:"):
                join_path(RTR, OUTSIDE, congestion)
            # Whoever asks for an address for the first time waits for it.
            run("ping", "-c", "20", "-i", "0.05", "-q", OUTSIDE, netns=FAR, check=False)
            for name, (octets, count) in MESSAGES.items():
                start = time.monotonic()
                hand_in(FAR, OUTSIDE, octets, count, "anna@office.example")
                results[f"{name} in, s"] = (time.monotonic() - start) / count
            for name, (octets, count) in MESSAGES.items():
                start = time.monotonic()
                for _ in range(count):
                    before = arrived()
                    hand_in(LAN, INSIDE, octets, 1, "bob@far.example")
                    while arrived() == before:
                        if time.monotonic() - start > 300:
                            raise RuntimeError(f"{make}: a message of {name} does not arrive")
                        time.sleep(0.002)
                results[f"{name} out, s"] = (time.monotonic() - start) / count
    return results


def join_path(netns, address, congestion):
    """Puts the namespace at the path: its connections go by this congestion control, and by nothing of former ones."""
    plug(netns, "eth0", f"{address}/24")
    run("sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1", netns=netns)
    ip(netns, "route", "replace", "203.0.113.0/24", "dev", "eth0", "src", address, "congctl", congestion)


@contextlib.contextmanager
def path(one, other, seed):
    with background(sys.executable, __file__, "path", one, other, str(seed), stdout=subprocess.PIPE) as process:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("there is no path")
        yield


def enter(netns):
    with open(f"/run/netns/{netns}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), netns)


def end_of_path(end):
    """How frames are read there, how they are written, and what says that there are some."""
    kind, netns = end.split(":")
    enter(netns)
    if kind == "tap":
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI))
        return lambda: os.read(device, 2048), lambda frame: os.write(device, frame), device
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    frames.bind(("eth0", 0))
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    frames.setblocking(False)

    def read():
        while True:
            frame, address = frames.recvfrom(2048)
            if address[2] != socket.PACKET_OUTGOING:
                return frame

    return read, frames.send, frames.fileno()


def carry(one, other, seed):
    """Carries frames both ways, for ever."""
    ends = [end_of_path(one), end_of_path(other)]
    dice = [random.Random(f"{seed}-{way}") for way in range(2)]
    held = [collections.deque(), collections.deque()]
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        for way, waiting in enumerate(held):
            while waiting and waiting[0][0] <= now:
                with contextlib.suppress(OSError):
                    ends[1 - way][1](waiting.popleft()[1])
        due = min((waiting[0][0] for waiting in held if waiting), default=now + 1)
        ready, _, _ = select.select([end[2] for end in ends], [], [], max(0, due - time.monotonic()))
        for way, (read, _, device) in enumerate(ends):
            if device not in ready:
                continue
            with contextlib.suppress(OSError):
                while True:
                    frame = read()
                    # A question for a hardware address that is lost would cost a second.
                    if frame[12:14] != ETH_P_IP or dice[way].random() >= LOSS:
                        held[way].append((time.monotonic() + ONE_WAY_SECS, frame))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatepost", default="target/release/gatepost", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--congestion", default="cubic", help="the kernel's congestion control (default: %(default)s)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    makes = {"gatepost": lambda directory: Gatepost(options.gatepost, directory), "Postfix": Postfix}
    far = f"""
        myhostname = mx.far.example
        virtual_mailbox_domains = far.example
        virtual_mailbox_maps = inline:{{bob@far.example=bob/}}
        """
    seeds = {name: 0 for name in makes}

    def round_of(name):
        # The same dice for all of a round.
        seeds[name] += 1
        return measure(makes[name], directory / "mail/bob", seeds[name], options.congestion)

    with tempfile.TemporaryDirectory(prefix="lossy-mail-", dir="target") as name, namespaces(FAR):
        directory = Path(name).resolve()
        with postfix_runs(directory, FAR, far):
            rounds = in_turn(list(makes), options.rounds, round_of)
    report(rounds, list(makes), [("gatepost", "Postfix")])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["path", one, other, seed]:
            carry(one, other, seed)
        case _:
            main()
