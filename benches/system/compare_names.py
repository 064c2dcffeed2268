#!/usr/bin/env python3
"""The gateway's DNS and DHCP beside Unbound, dnsmasq and Kea: the same work, in turn, round by round.

A client stands in a network namespace of the LAN, the server at 10.20.0.1, and an upstream DNS server in a namespace of
the WAN. The gateway's ports are TAP devices and it has a stack of its own; the others are behind cables with the kernel's.
The client has the first core, the server another. It needs root; `./dev compare-names` installs what it calls and builds
what it measures.

DNS: dnsperf asks for names that the server has cached, and for names that are its own. DHCP: perfdhcp is a relay agent
whose clients have leases already, as the gateway limits how fast one sender takes new ones; each exchange is DISCOVER,
OFFER, REQUEST and ACK, and the lease is written before the ACK. The rate rises until the server falls behind.

The CPU time of a server is what the machine was busy, kernel included, less the time of the client's process and of all
programs that this one has not started.
"""

import argparse
import contextlib
import ipaddress
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import (LAN, RTR, WAN, background, busy_seconds, cable, eventually, gatepost_runs, in_turn, ip, namespaces, plug,
                     report, resident, run)

SERVER, CLIENT, UPSTREAM = "10.20.0.1", "10.20.0.2", "203.0.113.2"
POOL = ("10.20.16.0", "10.20.79.255")
CLIENTS = 10_000
# As perfdhcp numbers them.
FIRST_MAC = 0x000c01020304
LOCAL_NAMES, CACHED_NAMES = 100, 1000
CLIENT_CORE, SERVER_CORE = "0", str(os.cpu_count() - 1)
# Offered exchanges a second: twice the rate before until the server falls behind, then between two rates, so many in all.
FIRST_RATE, STEPS = 10, 15

DNSMASQ = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-hosts", "--no-resolv",
           "--bind-interfaces")


def local_name(number):
    return f"pc{number}.office.example"


def local_address(number):
    return f"10.20.1.{number + 1}"


# The servers. Each is a context that yields the process at work.


@contextlib.contextmanager
def gatepost(options, directory):
    records = "".join(f'[[dns.records]]\nname = "pc{number}"\ntype = "A"\nvalue = "{local_address(number)}"\n'
                      for number in range(LOCAL_NAMES))
    config = directory / "gatepost.toml"
    config.write_text(f"""
        system.state_dir = "{directory}/state"
        system.control_socket = "{directory}/control.sock"
        network.mode = "nat"
        lan.address = "{SERVER}/16"
        lan.ports = [{{ tap = "eth0", netns = "{LAN}" }}]
        wan.ports = [{{ tap = "eth0", netns = "{WAN}" }}]
        wan.address = "203.0.113.1/24"
        wan.gateway = "{UPSTREAM}"
        dns.upstream = ["{UPSTREAM}"]
        dhcp.pool = "{"-".join(POOL)}"
        """ + records)
    with namespaces(LAN, WAN), gatepost_runs(options.gatepost, config, SERVER_CORE) as process:
        plug(LAN, "eth0", f"{CLIENT}/16")
        plug(WAN, "eth0", f"{UPSTREAM}/24")
        yield process


@contextlib.contextmanager
def behind_cables(port, *command, **environment):
    """A program in a namespace between LAN and WAN, from the moment when it has a UDP port."""
    with namespaces(LAN, RTR, WAN):
        cable(LAN, "eth0", RTR, "lan0")
        cable(WAN, "eth0", RTR, "wan0")
        plug(LAN, "eth0", f"{CLIENT}/16")
        plug(RTR, "lan0", f"{SERVER}/16")
        plug(RTR, "wan0", "203.0.113.1/24")
        plug(WAN, "eth0", f"{UPSTREAM}/24")
        # Kea opens no socket before.
        eventually("the cable", lambda: "LOWER_UP" in ip(RTR, "link", "show", "dev", "lan0"))
        with background("taskset", "-c", SERVER_CORE, *command, netns=RTR, env=os.environ | environment) as process:
            eventually(command[0], lambda: f"{SERVER}:{port} " in run("ss", "-Hlun", netns=RTR))
            yield process


def unbound(options, directory):
    data = "".join(f'  local-data: "{local_name(number)}. IN A {local_address(number)}"\n' for number in range(LOCAL_NAMES))
    config = directory / "unbound.conf"
    # It validates as little as the others do.
    config.write_text(f"""
server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  use-syslog: no
  logfile: "{directory}/log"
  num-threads: 1
  module-config: "iterator"
  do-ip6: no
  interface: {SERVER}
  access-control: 10.20.0.0/16 allow
  local-zone: "office.example." static
{data}forward-zone:
  name: "."
  forward-addr: {UPSTREAM}
remote-control:
  control-enable: no
""")
    return behind_cables(53, options.unbound, "-c", str(config))


def dnsmasq(_options, directory):
    records = (f"--host-record={local_name(number)},{local_address(number)}" for number in range(LOCAL_NAMES))
    return behind_cables(
        53, *DNSMASQ, f"--listen-address={SERVER}", f"--server={UPSTREAM}", "--cache-size=10000", *records,
        f"--dhcp-range={','.join(POOL)},255.255.0.0,86400", f"--dhcp-lease-max={2 * CLIENTS}", "--dhcp-authoritative",
        f"--dhcp-leasefile={directory}/leases", "--no-ping", "--quiet-dhcp", "--log-facility=/dev/null")


def kea(options, directory):
    config = directory / "kea.json"
    leases = {"type": "memfile", "persist": True, "name": f"{directory}/leases.csv", "lfc-interval": 0}
    log = {"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": f"{directory}/log"}]}
    config.write_text(json.dumps({"Dhcp4": {
        # Relay agents need no raw sockets, which are slower.
        "interfaces-config": {"interfaces": ["lan0"], "dhcp-socket-type": "udp"},
        "lease-database": leases,
        "valid-lifetime": 86_400,
        "subnet4": [{"subnet": "10.20.0.0/16", "pools": [{"pool": " - ".join(POOL)}]}],
        "loggers": [log],
    }}))
    return behind_cables(67, options.kea, "-c", str(config), KEA_PIDFILE_DIR=str(directory), KEA_LOCKFILE_DIR=str(directory))


def make_leases(name, options, directory):
    """Leases of all clients, for the servers that would take minutes to give them."""
    if name == "gatepost":
        run(options.leases, directory / "state", POOL[0], str(CLIENTS))
    if name == "dnsmasq":
        until, first = int(time.time()) + 86_400, ipaddress.ip_address(POOL[0])
        macs = ((FIRST_MAC + number).to_bytes(6).hex(":") for number in range(CLIENTS))
        leases = (f"{until} {mac} {first + number} * 01:{mac}\n" for number, mac in enumerate(macs))
        (directory / "leases").write_text("".join(leases))


SERVERS = {"gatepost": gatepost, "unbound": unbound, "dnsmasq": dnsmasq, "kea": kea}
SERVES = {"cached": ("gatepost", "unbound", "dnsmasq"), "local": ("gatepost", "unbound", "dnsmasq"),
          "dhcp": ("gatepost", "dnsmasq", "kea"), "idle": ("gatepost", "kea"), "leases": ("gatepost", "kea")}


# The measurements. Each returns numbers by name.


def stat(pid):
    """A process: its parent, whether it is a thread of the kernel's, and its CPU seconds with those of children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    is_kernels = int(fields[6]) & 0x200000 != 0
    return int(fields[1]), is_kernels, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def others_seconds():
    """What all programs have worked that this one has not started."""
    stats = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stats[int(pid)] = stat(pid)
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _, _) in stats.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds for pid, (_, is_kernels, seconds) in stats.items() if pid not in ours and not is_kernels)


def timed(*command, check=True):
    """Runs a client; what it printed, and the CPU seconds of the server meanwhile."""
    def seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return busy_seconds() - others_seconds() - usage.ru_utime - usage.ru_stime

    before = seconds()
    text = run("taskset", "-c", CLIENT_CORE, *command, netns=LAN, timeout=300, check=check)
    return text, seconds() - before


def found(pattern, text):
    """The numbers in a text."""
    return [float(number) for number in re.findall(pattern, text, re.MULTILINE)]


def dns(kind, names, seconds):
    with tempfile.NamedTemporaryFile("w", suffix=".names") as queries:
        queries.write("".join(f"{name} A\n" for name in names))
        queries.flush()
        command = ("dnsperf", "-s", SERVER, "-d", queries.name, "-T", "1", "-c", "8")
        run(*command, "-n", "2", "-q", "20", netns=LAN, timeout=60)
        # As many at once as keep two threads that take turns busy.
        text, cpu = timed(*command, "-l", str(seconds), "-q", "200")
    [completed], [lost], [rate] = (found(pattern, text) for pattern in (
        r"Queries completed: +(\d+)", r"Queries lost: +(\d+)", r"Queries per second: +([\d.]+)"))
    if f"NOERROR {completed:.0f} (100.00%)" not in text:
        raise RuntimeError(text)
    return {f"{kind} names, queries/s": rate, f"{kind} names, queries/CPU s": completed / cpu, f"{kind} names, lost": lost}


def cached(_name, _process, seconds):
    with background(*DNSMASQ, f"--listen-address={UPSTREAM}", "--local-ttl=86400",
                    "--address=/elsewhere.example/198.51.100.7", netns=WAN):
        eventually("the upstream server", lambda: f"{UPSTREAM}:53 " in run("ss", "-Hlun", netns=WAN))
        return dns("cached", [f"www{number}.elsewhere.example" for number in range(CACHED_NAMES)], seconds)


def local(_name, _process, seconds):
    return dns("local", [local_name(number) for number in range(LOCAL_NAMES)], seconds)


def exchanges(rate, seconds):
    """4-way exchanges a second, and in a CPU second of the server, and the share of those begun that were completed."""
    text, cpu = timed("perfdhcp", "-4", "-l", "eth0", "-R", str(CLIENTS), "-r", str(rate), "-p", str(seconds), SERVER,
                      check=False)
    sent, received = found(r"sent packets: (\d+)", text), found(r"received packets: (\d+)", text)
    if len(sent) != 2 or len(received) != 2:
        raise RuntimeError(text)
    return received[1] / seconds, received[1] / cpu, received[1] / max(sent[0], 1)


def dhcp(name, process, seconds):
    if name == "kea":
        # Every client gets its lease first.
        exchanges(CLIENTS // 10, CLIENTS // 1000 + 1)
    best, limits = (0, 0), [FIRST_RATE, None]
    for _ in range(STEPS):
        low, high = limits
        rate = 2 * low if high is None else round((low * high) ** 0.5)
        *reached, share = exchanges(rate, seconds)
        best = max(best, tuple(reached))
        limits[share < 0.9] = rate
    return {"exchanges/s": best[0], "exchanges/CPU s": best[1]}


def idle(_name, process, _seconds):
    return {"resident without leases, MiB": resident(process.pid)}


def leases(name, process, _seconds):
    """Once every client has come, to a server that knows it or, if it can take so many at once, gives it a lease."""
    exchanges(CLIENTS // 10, CLIENTS // 1000 + 1)
    return {f"resident with {CLIENTS:,} leases, MiB": resident(process.pid)}


ALL = {"cached": cached, "local": local, "dhcp": dhcp, "idle": idle, "leases": leases}


def measure(name, options):
    """All that is asked for and that the server does; it is started anew for each."""
    results = {}
    for kind in options.what:
        if name not in SERVES[kind]:
            continue
        with tempfile.TemporaryDirectory(prefix="compare-names-", dir="target") as directory:
            directory = Path(directory).resolve()
            if kind in ("dhcp", "leases"):
                make_leases(name, options, directory)
            try:
                with SERVERS[name](options, directory) as process:
                    results |= ALL[kind](name, process, options.seconds)
            except (RuntimeError, ValueError, subprocess.SubprocessError) as error:
                print(f"{name}: {kind}: {error}", file=sys.stderr)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatepost", default="target/release/gatepost", help="the program to measure")
    parser.add_argument("--leases", default="target/release/examples/leases", help="makes leases for the gateway")
    parser.add_argument("--unbound", default="target/clients/unbound/usr/sbin/unbound")
    parser.add_argument("--kea", default="target/clients/kea/usr/sbin/kea-dhcp4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="how long each measurement takes")
    parser.add_argument("--servers", default=",".join(SERVERS), help="whom to measure (default: %(default)s)")
    parser.add_argument("--what", default=",".join(ALL), help="what to measure (default: %(default)s)")
    options = parser.parse_args()
    options.what, names = options.what.split(","), options.servers.split(",")
    if unknown := [name for name in names if name not in SERVERS] + [kind for kind in options.what if kind not in ALL]:
        parser.error(f"there is no {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds = in_turn(names, options.rounds, lambda name: measure(name, options))
    report(rounds, names, [("gatepost", name) for name in names if name != "gatepost" and "gatepost" in names])


if __name__ == "__main__":
    main()
