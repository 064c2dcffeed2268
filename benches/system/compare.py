#!/usr/bin/env python3
"""Gatepost beside the machine's own kernel, slirp4netns and pasta: the same work, in turn, round by round.

A LAN host and a WAN host are network namespaces; between them stands one of the gateways. Everything it
makes has the process id in its name and is removed at the end, also after a failure or Ctrl-C. It needs
root; `./dev compare` installs what it calls and builds what it measures.

What is printed is the median over the rounds with the smallest and the largest, and the ratios to the
others as the median of the ratios within each round, so that what else the machine does meanwhile
concerns both. Latency is what the gateway adds to a cable between the two hosts.
"""

import argparse
import contextlib
import ipaddress
import json
import os
import re
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from harness import (LAN, RTR, WAN, background, busy_seconds, cable, eventually, gatepost_runs, has_address, in_turn, ip,
                     namespaces, plug, report, run)

SERVER = "203.0.113.2"
CONNECT_PORTS = range(7000, 7016)
CONNECTIONS = 10_000


# The gateways. Each is a context in which the LAN host reaches SERVER; it yields the process at work, if
# there is one.


@contextlib.contextmanager
def direct():
    """No gateway: a cable."""
    with namespaces(LAN, WAN):
        cable(LAN, "eth0", WAN, "eth0")
        plug(LAN, "eth0", "203.0.113.10/24")
        plug(WAN, "eth0", f"{SERVER}/24")
        yield None


@contextlib.contextmanager
def kernel():
    """nftables: masquerade and a stateful forward policy."""
    with namespaces(LAN, RTR, WAN):
        cable(LAN, "eth0", RTR, "lan0")
        cable(WAN, "eth0", RTR, "wan0")
        plug(LAN, "eth0", "192.168.1.10/24")
        plug(RTR, "lan0", "192.168.1.1/24")
        plug(RTR, "wan0", "203.0.113.1/24")
        plug(WAN, "eth0", f"{SERVER}/24")
        ip(LAN, "route", "add", "default", "via", "192.168.1.1")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1", netns=RTR)
        run("nft", "-f", "-", netns=RTR, input="""
            table ip nat {
              chain post {
                type nat hook postrouting priority 100
                oifname "wan0" masquerade
              }
            }
            table ip filter {
              chain forward {
                type filter hook forward priority 0; policy drop
                ct state established,related accept
                iifname "lan0" accept
              }
            }
            """)
        yield None


@contextlib.contextmanager
def gatepost(program, driver="auto", workers=1):
    with namespaces(LAN, WAN), tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "gatepost.toml")
        with open(config, "w") as file:
            file.write(f"""
                system.state_dir = "{directory}/state"
                system.control_socket = "{directory}/control.sock"
                system.workers = {workers}
                lan.ports = [{{ tap = "eth0", netns = "{LAN}", driver = "{driver}" }}]
                wan.ports = [{{ tap = "eth0", netns = "{WAN}", driver = "{driver}" }}]
                wan.address = "203.0.113.1/24"
                wan.gateway = "{SERVER}"
                nat.max_flows_per_host = 262144
                """)
        with gatepost_runs(program, config) as process:
            plug(LAN, "eth0", "192.168.1.10/24")
            plug(WAN, "eth0", f"{SERVER}/24")
            ip(LAN, "route", "add", "default", "via", "192.168.1.1")
            yield process


@contextlib.contextmanager
def userspace(*command):
    """A program in the router's place that makes `tap0` in the LAN's namespace, and its own connections."""
    with namespaces(LAN, RTR, WAN):
        cable(RTR, "wan0", WAN, "eth0")
        plug(RTR, "wan0", "203.0.113.1/24")
        plug(WAN, "eth0", f"{SERVER}/24")
        ip(RTR, "route", "add", "default", "via", SERVER)
        with background(*command, netns=RTR) as process:
            eventually(f"{command[0]}'s address", lambda: has_address(LAN, "tap0"))
            yield process


def slirp4netns():
    return userspace("slirp4netns", "--configure", "--mtu=65520", "--netns-type=path", f"/run/netns/{LAN}",
                     "tap0")


def pasta():
    return userspace("pasta", "--foreground", "--config-net", "--no-map-gw", "--runas", "0", "--ns-ifname", "tap0",
                     "--tcp-ports", "none", "--udp-ports", "none", "--netns", f"/run/netns/{LAN}")


# The measurements. Each returns numbers by name.


@contextlib.contextmanager
def iperf3_server():
    with background("iperf3", "--server", netns=WAN):
        listens = lambda: ":5201" in run("ss", "-Hltn", netns=WAN)
        eventually("the iperf3 server", listens)
        yield


def tcp(streams, reverse, seconds):
    options = ["--parallel", str(streams), *(["--reverse"] if reverse else [])]
    busy = busy_seconds()
    text = run("iperf3", "--client", SERVER, "--json", "--time", str(seconds), *options, netns=LAN,
               timeout=seconds + 30)
    received = json.loads(text)["end"]["sum_received"]
    cpu = (busy_seconds() - busy) / (received["bytes"] / 1e9)
    return received["bits_per_second"] / 1e9, cpu


def throughput(seconds):
    results = {}
    with iperf3_server():
        for streams in (1, 8):
            for way, reverse in (("out", False), ("in", True)):
                name = f"TCP {streams} {way}"
                results[f"{name}, Gbit/s"], results[f"{name}, CPU s/GB"] = tcp(streams, reverse, seconds)
    return results


def frame(to_mac, from_mac, source_port):
    """60 octets on the wire without FCS: UDP from the LAN host, without a checksum."""
    source, destination = (ipaddress.ip_address(text).packed for text in ("192.168.1.10", SERVER))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0x4000, 64, 17, 0) + source + destination
    total = sum(struct.unpack("!10H", header))
    checksum = ~(total + (total >> 16)) & 0xffff
    header = header[:10] + struct.pack("!H", checksum) + header[12:]
    return to_mac + from_mac + b"\x08\x00" + header + struct.pack("!HHHH", source_port, 9, 26, 0) + bytes(18)


def received_packets():
    link = json.loads(ip(WAN, "-j", "-s", "link", "show", "dev", "eth0"))[0]
    return link["stats64"]["rx"]["packets"]


def packets(flows, seconds):
    """Packets a second that reach the WAN host, which throws them away, and CPU seconds per million."""
    eventually("an answer", lambda: " 0%" in run("ping", "-c", "1", "-W", "1", SERVER, netns=LAN, check=False))
    mac = lambda shown, key: bytes.fromhex(json.loads(shown)[0][key].replace(":", ""))
    to_mac = mac(ip(LAN, "-j", "neighbor", "show", "192.168.1.1"), "lladdr")
    from_mac = mac(ip(LAN, "-j", "link", "show", "dev", "eth0"), "address")
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        for flow in range(flows):
            octets = ", ".join(f"{octet:#04x}" for octet in frame(to_mac, from_mac, 10_000 + flow))
            file.write(f"{{ {octets} }}\n")
        file.flush()
        with background("trafgen", "--dev", "eth0", "--conf", file.name, "--cpus", "1", netns=LAN):
            before = received_packets()
            eventually("packets", lambda: received_packets() > before + 1000)
            time.sleep(0.5)
            start, busy, count = time.monotonic(), busy_seconds(), received_packets()
            time.sleep(seconds)
            elapsed, cpu, count = (time.monotonic() - start, busy_seconds() - busy, received_packets() - count)
    return count / elapsed, cpu / (count / 1e6)


def packet_rates(seconds):
    results = {}
    run("nft", "add table netdev t; add chain netdev t in { type filter hook ingress device eth0 priority 0; }; "
        "add rule netdev t in udp dport 9 drop", netns=WAN)
    for flows in (1, 10_000):
        name = f"60 octets, {flows} flow{'s' if flows > 1 else ''}"
        results[f"{name}, packets/s"], results[f"{name}, CPU s/M"] = packets(flows, seconds)
    return results


def serve():
    """Takes connections on all of CONNECT_PORTS and closes what the other end closes. (in the WAN's namespace)"""
    selector = selectors.DefaultSelector()
    for port in CONNECT_PORTS:
        selector.register(socket.create_server((SERVER, port), backlog=1024), selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            connection, _ = key.fileobj.accept()
            connection.recv(1)
            connection.close()


def connect(part):
    """Opens and closes every second connection, one after the other. (in the LAN's namespace)"""
    for number in range(part, CONNECTIONS, 2):
        address = (SERVER, CONNECT_PORTS[number % len(CONNECT_PORTS)])
        socket.create_connection(address, timeout=10).close()


def connections(_seconds):
    """TCP connections opened and closed by two processes."""
    run("sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=10000 60000", netns=LAN)
    itself = (sys.executable, __file__)
    with background(*itself, "serve", netns=WAN):
        eventually("the server", lambda: f":{CONNECT_PORTS[-1]}" in run("ss", "-Hltn", netns=WAN))
        with contextlib.ExitStack() as stack:
            start = time.monotonic()
            clients = [stack.enter_context(background(*itself, "connect", part, netns=LAN)) for part in "01"]
            if any(client.wait(60) != 0 for client in clients):
                raise RuntimeError("a connection failed")
            return {"new connections/s": CONNECTIONS / (time.monotonic() - start)}


def pings(count):
    text = run("ping", "-n", "-i", "0.003", "-c", str(count), SERVER, netns=LAN, check=False)
    times = sorted(float(found) * 1000 for found in re.findall(r"time=([\d.]+)", text))
    if not times:
        raise RuntimeError("no ping is answered")
    return statistics.median(times), times[int(len(times) * 0.99)]


def latency(seconds):
    results = {}
    results["ping idle p50, us"], results["ping idle p99, us"] = pings(500)
    with iperf3_server(), background("iperf3", "--client", SERVER, "--time", str(seconds + 10), netns=LAN):
        time.sleep(1)
        results["ping under TCP p50, us"], results["ping under TCP p99, us"] = pings(500)
    return results


def idle(process, seconds):
    """What the gateway uses while nothing happens."""
    def cpu():
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(1)
    before = cpu()
    time.sleep(seconds)
    with open(f"/proc/{process.pid}/status") as file:
        resident = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024
    return {"idle CPU, %": (cpu() - before) / seconds * 100, "idle resident, MiB": resident}


ALL = {"idle": None, "tcp": throughput, "packets": packet_rates, "connections": connections, "latency": latency}


def measure(name, gateway, what, seconds):
    """All that is asked for, of one gateway, which is set up for it anew."""
    results = {}
    for kind in what:
        # The programs that make connections of their own take no packets of ours.
        if kind == "packets" and name in ("slirp4netns", "pasta", "cable") or kind == "idle" and name == "kernel":
            continue
        with gateway() as process:
            try:
                if kind != "idle":
                    results |= ALL[kind](seconds)
                elif process:
                    results |= idle(process, max(seconds, 10))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name}: {kind}: {error}", file=sys.stderr)
    return results


def ratios(names):
    """Whom to compare with whom: ours with the kernel, and the usual one with the others."""
    ours = [name for name in ("gatepost", "2-workers", "plain") if name in names]
    pairs = [(name, "kernel") for name in ours] + [("gatepost", name) for name in ("slirp4netns", "pasta")]
    return [(name, other) for name, other in pairs if name in names and other in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatepost", default="target/release/gatepost", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="how long each measurement takes")
    parser.add_argument("--gateways", default="gatepost,2-workers,kernel,plain,slirp4netns,pasta,cable",
                        help="whom to measure; `plain` is gatepost without offloads, `2-workers` with as many "
                             "(default: %(default)s)")
    parser.add_argument("--what", default=",".join(ALL), help="what to measure (default: %(default)s)")
    options = parser.parse_args()
    gateways = {
        "gatepost": lambda: gatepost(options.gatepost),
        "2-workers": lambda: gatepost(options.gatepost, workers=2),
        "kernel": kernel,
        "plain": lambda: gatepost(options.gatepost, driver="plain"),
        "slirp4netns": slirp4netns,
        "pasta": pasta,
        "cable": direct,
    }
    names, what = options.gateways.split(","), options.what.split(",")
    if unknown := [name for name in names if name not in gateways] + [kind for kind in what if kind not in ALL]:
        parser.error(f"there is no {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds = in_turn(names, options.rounds, lambda name: measure(name, gateways[name], what, options.seconds))
    report(rounds, names, ratios(names))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["connect", part]:
            connect(int(part))
        case _:
            main()
