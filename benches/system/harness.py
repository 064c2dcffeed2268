"""What the comparisons of whole systems share: network namespaces with programs in them, and tables of rounds.

All that is made here has the process id in its name and is removed at the end, also after a failure or Ctrl-C.
"""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

PREFIX = f"gp{os.getpid()}"
LAN, RTR, WAN = (f"{PREFIX}-{side}" for side in ("lan", "rtr", "wan"))


def run(*command, netns=None, check=True, **options):
    """Runs a command to its end and returns what it printed."""
    prefix = ["ip", "netns", "exec", netns] if netns else []
    result = subprocess.run([*prefix, *command], text=True, capture_output=True, **options)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stdout}{result.stderr}")
    return result.stdout


def ip(netns, *command):
    return run("ip", "-n", netns, *command)


@contextlib.contextmanager
def background(*command, netns=None, **options):
    """A program that runs meanwhile, with all that it starts."""
    prefix = ["ip", "netns", "exec", netns] if netns else []
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    process = subprocess.Popen([*prefix, *command], start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def eventually(what, look):
    for _ in range(500):
        if found := look():
            return found
        time.sleep(0.02)
    raise RuntimeError(f"in vain waited for {what}")


def has_address(netns, device):
    return "inet " in run("ip", "-n", netns, "-4", "address", "show", "dev", device, check=False)


@contextlib.contextmanager
def namespaces(*names):
    try:
        for name in names:
            run("ip", "netns", "add", name)
            # IPv6's own chatter would be counted.
            run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                netns=name)
            ip(name, "link", "set", "lo", "up")
        yield
    finally:
        for name in names:
            pids = run("ip", "netns", "pids", name, check=False).split()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "del", name, check=False)


def plug(netns, device, address):
    ip(netns, "address", "add", address, "dev", device)
    ip(netns, "link", "set", device, "up")


def cable(one, device, other, other_device):
    ip(one, "link", "add", device, "type", "veth", "peer", "name", other_device, "netns", other)


@contextlib.contextmanager
def gatepost_runs(program, config, core=None):
    """`gatepost run`, from the moment when it serves, perhaps on one core alone; its process."""
    pinned = ["taskset", "-c", core] if core else []
    with background(*pinned, program, "run", "--config", config, stdout=subprocess.PIPE) as process:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"gatepost does not start; try `{program} run` yourself")
        yield process


def busy_seconds():
    """What all cores have worked so far."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """MiB; of memory that several processes share each has its part."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) / 1024 if found else 0


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(values):
    """The median, and the least and the most."""
    if not values:
        return "-"
    median = number(statistics.median(values))
    return f"{median} ({number(min(values))}..{number(max(values))})" if len(values) > 1 else median


def report(rounds, names, pairs):
    """A table of what the rounds measured by name, and the ratios of `pairs` within each round."""
    keys = list(dict.fromkeys(key for each in rounds for name in names for key in each.get(name, {})))
    print("| | " + " | ".join([*names, *(f"{name} : {other}" for name, other in pairs)]) + " |")
    print("| --- |" + " --- |" * (len(names) + len(pairs)))
    for key in keys:
        cells = [spread([each[name][key] for each in rounds if key in each.get(name, {})]) for name in names]
        for name, other in pairs:
            values = [(each.get(name, {}).get(key), each.get(other, {}).get(key)) for each in rounds]
            cells.append(spread([mine / its for mine, its in values if mine is not None and its]))
        print(f"| {key} | " + " | ".join(cells) + " |")


def in_turn(names, count, measure):
    """`count` rounds of `measure(name)` for all, and each round begins with another."""
    load = os.getloadavg()[0]
    noisy = " (noisy)" if load > 0.5 else ""
    print(f"{os.cpu_count()} cores, load {load:.1f}{noisy}, Linux {os.uname().release}\n", flush=True)
    rounds = []
    for number in range(count):
        order = names[number % len(names):] + names[:number % len(names)]
        print(f"round {number + 1} of {count}", file=sys.stderr)
        rounds.append({name: measure(name) for name in order})
    return rounds
