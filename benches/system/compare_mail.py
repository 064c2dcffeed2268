#!/usr/bin/env python3
"""The gateway's mail services beside Postfix and Dovecot: the same work, in turn, round by round.

A client stands in a network namespace of the LAN, the servers at 192.168.1.1: the gateway's on a TAP device with the
gateway's own TCP, Postfix and Dovecot in a namespace behind a cable with the kernel's. All of them keep mail on the same
disk, below target/, and answer when it is durable. It needs root; `./dev compare-mail` installs what it calls and builds
what it measures.

Messages are counted when the server has said that it has them, and again when they are in the mailbox. Postfix delivers
to a Maildir, which Dovecot reads.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import (LAN, RTR, background, cable, eventually, gatepost_runs, in_turn, namespaces, plug, report, resident,
                     run)

SERVER = "192.168.1.1"
MESSAGE_OCTETS = 4096
PASSWORD = "blue-harbour-47"
# Who sends how many messages at once, and of them how many in all.
SENDERS = ((20, 5000), (1, 500))
IDLE = 1000
LARGE_OCTETS = 25 << 20


# What every Postfix here has.
POSTFIX = """
    compatibility_level = 3.6
    queue_directory = {0}/queue
    data_directory = {0}/data
    mail_owner = postfix
    setgid_group = postdrop
    maillog_file = {0}/postfix.log
    maillog_file_prefixes = {0}
    mydestination =
    inet_protocols = ipv4
    mynetworks = 192.168.1.0/24
    virtual_mailbox_base = {0}/mail
    virtual_minimum_uid = 1
    virtual_uid_maps = static:8
    virtual_gid_maps = static:8
    virtual_transport = virtual
    smtpd_client_connection_count_limit = 0
    message_size_limit = 67108864
    mailbox_size_limit = 0
    virtual_mailbox_limit = 0
    """


@contextlib.contextmanager
def postfix_runs(here, netns, settings):
    """Postfix in a namespace, with lines of `settings`; nothing of the machine's own, and all that it has is below `here`."""
    here.chmod(0o755)
    for name in ("queue", "data", "mail", "etc"):
        (here / name).mkdir()
    os.chown(here / "data", *owner("postfix"))
    os.chown(here / "mail", 8, 8)
    # Lines that are indented go on from the one before.
    lines = (line.strip() for line in (POSTFIX.format(here) + settings).splitlines())
    (here / "etc/main.cf").write_text("\n".join(filter(None, lines)) + "\n")
    master = Path("/usr/share/postfix/master.cf.dist").read_text()
    # No service has its root elsewhere: the tables are below `here`.
    master = re.sub(r"^(\w+\s+\w+\s+\S+\s+\S+\s+)\S+", r"\1n", master, flags=re.MULTILINE)
    (here / "etc/master.cf").write_text(master)
    # It makes the folders of the queue.
    run("postfix", "-c", here / "etc", "check", netns=netns)
    with background("postfix", "-c", here / "etc", "start-fg", netns=netns):
        eventually("Postfix", lambda: ":25 " in run("ss", "-Hltn", netns=netns))
        yield


class Gatepost:
    """The gateway."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.config = directory / "gatepost.toml"
        self.config.write_text(f"""
            system.state_dir = "{directory}/state"
            system.control_socket = "{directory}/control.sock"
            network.mode = "lan-only"
            lan.ports = [{{ tap = "eth0", netns = "{LAN}" }}]
            users = [{{ name = "anna", quota = "100 GiB" }}]
            mail.max_message = "64 MiB"
            mail.plaintext_login = "lan"
            mail.limits.lan_connections = {2 * IDLE}
            """)

    @contextlib.contextmanager
    def serves(self):
        run(self.program, "passwd", "anna", "--stdin", "--config", self.config, input=f"{PASSWORD}\n")
        with namespaces(LAN), gatepost_runs(self.program, self.config) as process:
            plug(LAN, "eth0", "192.168.1.10/24")
            self.pid = process.pid
            yield self

    def messages(self):
        shown = json.loads(run(self.program, "show", "services", "--json", "--config", self.config))
        return next(each["counters"]["messages"] for each in shown["services"] if each["name"] == "smtp")

    def resident(self):
        return resident(self.pid)


class Peers:
    """Postfix, which delivers to a Maildir, and Dovecot, which reads it."""

    POSTFIX = """
        myhostname = smtp.office.example
        inet_interfaces = 192.168.1.1
        virtual_mailbox_domains = office.example
        virtual_mailbox_maps = inline:{anna@office.example=anna/}
        """
    DOVECOT = """
        protocols = pop3
        listen = 192.168.1.1
        base_dir = {0}/dovecot
        state_dir = {0}/dovecot-state
        log_path = {0}/dovecot.log
        ssl = yes
        ssl_cert = <{0}/cert.pem
        ssl_key = <{0}/key.pem
        disable_plaintext_auth = no
        mail_location = maildir:{0}/mail/anna
        first_valid_uid = 8
        default_client_limit = 4000
        mail_max_userip_connections = 4000
        passdb {{
          driver = static
          args = password={1}
        }}
        userdb {{
          driver = static
          args = uid=8 gid=8 home={0}/mail
        }}
        service pop3-login {{
          service_count = 0
          client_limit = 4000
        }}
        service pop3 {{
          process_limit = 4000
        }}
        """

    def __init__(self, directory):
        self.directory = directory

    @contextlib.contextmanager
    def serves(self):
        here = self.directory
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=smtp.office.example", "-keyout", here / "key.pem", "-out", here / "cert.pem")
        (here / "dovecot.conf").write_text(self.DOVECOT.format(here, PASSWORD))
        with namespaces(LAN, RTR):
            cable(LAN, "eth0", RTR, "eth0")
            plug(LAN, "eth0", "192.168.1.10/24")
            plug(RTR, "eth0", f"{SERVER}/24")
            with (postfix_runs(here, RTR, self.POSTFIX),
                  background("dovecot", "-F", "-c", here / "dovecot.conf", netns=RTR)):
                eventually("Dovecot", lambda: ":995 " in run("ss", "-Hltn", netns=RTR))
                yield self

    def messages(self):
        new, cur = (self.directory / "mail/anna" / name for name in ("new", "cur"))
        return sum(len(os.listdir(folder)) for folder in (new, cur) if folder.is_dir())

    def resident(self):
        return sum(resident(int(pid)) for pid in run("ip", "netns", "pids", RTR).split())


def owner(user):
    uid, gid = (int(run("id", option, user)) for option in ("-u", "-g"))
    return uid, gid


def smtp(server):
    """Messages a second: said to be safe, and in the mailbox."""
    results = {}
    for senders, count in SENDERS:
        before, start = server.messages(), time.monotonic()
        run("smtp-source", "-s", str(senders), "-l", str(MESSAGE_OCTETS), "-m", str(count), "-f", "b@elsewhere.example",
            "-t", "anna@office.example", f"inet:{SERVER}:25", netns=LAN, timeout=300)
        taken = time.monotonic() - start
        eventually("all messages", lambda: server.messages() >= before + count)
        there = time.monotonic() - start
        name = f"{senders} sender{'s' if senders > 1 else ''}"
        results[f"SMTP, {name}, messages/s"] = count / taken
        results[f"SMTP, {name}, messages/s in the mailbox"] = count / there
    return results


def large(server):
    """A message of 25 MiB: seconds, and how much more memory the server has at the most meanwhile."""
    before, messages, start, most = server.resident(), server.messages(), time.monotonic(), 0
    with background("smtp-source", "-l", str(LARGE_OCTETS), "-m", "1", "-f", "b@elsewhere.example", "-t",
                    "anna@office.example", f"inet:{SERVER}:25", netns=LAN) as sending:
        while sending.poll() is None:
            most = max(most, server.resident())
            time.sleep(0.02)
    eventually("the large message", lambda: server.messages() > messages)
    return {"25 MiB message, s": time.monotonic() - start, "25 MiB message, MiB of memory": most - before}


def pop3(server):
    """RETR of all messages in one session, and how long the mailbox takes to open."""
    count = server.messages()
    start = time.monotonic()
    client("stat")
    opened = time.monotonic() - start
    start = time.monotonic()
    run("curl", "--silent", "--show-error", "--user", f"anna:{PASSWORD}", f"pop3://{SERVER}/[1-{count}]", "--output",
        "/dev/null", netns=LAN, timeout=600)
    return {"POP3 session with STAT, ms": opened * 1000, "POP3 RETR, messages/s": count / (time.monotonic() - start)}


def client(*command):
    run(sys.executable, __file__, "client", *command, netns=LAN, timeout=300)


def idle(server):
    """MiB that idle POP3 connections take, without and with TLS. What an allocator keeps of the first is the second's, too."""
    results, before = {}, server.resident()
    for name, port in (("POP3", 110), ("POP3 over TLS", 995)):
        with background(sys.executable, __file__, "client", "idle", str(port), netns=LAN,
                        stdout=subprocess.PIPE) as clients:
            if clients.stdout.readline() != b"connected\n":
                raise RuntimeError("the connections were not made")
            results[f"{IDLE} idle connections, {name}, MiB"] = server.resident() - before
    return results


def run_client(command):
    """What clients do in the LAN's namespace."""
    match command:
        case ["stat"]:
            with socket.create_connection((SERVER, 110), timeout=60) as connection, connection.makefile("rb") as lines:
                for line in ("", "USER anna", f"PASS {PASSWORD}", "STAT", "QUIT"):
                    if line:
                        connection.sendall(f"{line}\r\n".encode())
                    if not lines.readline().startswith(b"+OK"):
                        raise SystemExit(f"{line} is refused")
        case ["idle", port]:
            context = ssl._create_unverified_context()
            connections = []
            for _ in range(IDLE):
                connection = socket.create_connection((SERVER, int(port)), timeout=60)
                if port == "995":
                    connection = context.wrap_socket(connection)
                if not connection.recv(512).startswith(b"+OK"):
                    raise SystemExit("a connection is refused")
                connections.append(connection)
            print("connected", flush=True)
            signal.pause()


# The large message comes last, as POP3 would fetch it with the others.
ALL = {"smtp": smtp, "pop3": pop3, "idle": idle, "large": large}


def measure(make, what):
    with tempfile.TemporaryDirectory(prefix="compare-mail-", dir="target") as directory:
        with make(Path(directory).resolve()).serves() as server:
            results = {}
            for kind in what:
                try:
                    results |= ALL[kind](server)
                except (RuntimeError, subprocess.SubprocessError) as error:
                    print(f"{type(server).__name__}: {kind}: {error}", file=sys.stderr)
            return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatepost", default="target/release/gatepost", help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--what", default=",".join(ALL), help="what to measure (default: %(default)s)")
    options = parser.parse_args()
    what = options.what.split(",")
    if unknown := [kind for kind in what if kind not in ALL]:
        parser.error(f"there is no {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = {"gatepost": lambda directory: Gatepost(options.gatepost, directory), "Postfix and Dovecot": Peers}
    rounds = in_turn(list(servers), options.rounds, lambda name: measure(servers[name], what))
    report(rounds, list(servers), [("gatepost", "Postfix and Dovecot")])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["client", *command]:
            run_client(command)
        case _:
            main()
