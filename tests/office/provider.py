"""A provider's DHCP server of a kind that Debian's servers cannot be made to be.

provider.py ADDRESS [without=CODE,...] [prefix=N] [router=ADDRESS] [routes=HEX] [vlan0]

It gives ADDRESS to every client, on raw frames at eth0, and prints the type of each message that it gets with the options
of identity in it.
"""
import sys
from scapy.all import *

conf.checkIPaddr = False; conf.verb = 0
address, *words = sys.argv[1:]
own = dict(word.partition("=")[::2] for word in words)
me, isp = get_if_hwaddr("eth0"), "203.0.113.1"
prefix = int(own.get("prefix", 24))
mask = ".".join(str((0xffffffff << (32 - prefix) >> shift) & 255) for shift in (24, 16, 8, 0))
without = own.get("without", "").split(",")

def answer(request):
    options = dict(option[:2] for option in request[DHCP].options if isinstance(option, tuple))
    kind = options["message-type"]
    text = lambda key: options[key].hex() if isinstance(options.get(key), bytes) else options.get(key)
    print("message", kind, "from", request[Ether].src, "id", text("client_id"), "class", text("vendor_class_id"),
          "asked", options.get("requested_addr"), "list", options.get("param_req_list"), flush=True)
    if kind not in (1, 3):
        return
    told = [(54, "server_id", isp), (51, "lease_time", 600), (1, "subnet_mask", mask), (3, "router", own.get("router", isp)),
            (6, "name_server", isp)]
    told = [(name, value) for code, name, value in told if str(code) not in without]
    if "routes" in own:
        told.append((121, bytes.fromhex(own["routes"])))
    tag = Dot1Q(vlan=0, prio=5) if "vlan0" in own else None
    link = Ether(src=me, dst=request[Ether].src)
    reply = (IP(src=isp, dst=address) / UDP(sport=67, dport=68) /
             BOOTP(op=2, xid=request[BOOTP].xid, yiaddr=address, chaddr=request[BOOTP].chaddr) /
             DHCP(options=[("message-type", 2 if kind == 1 else 5)] + told + ["end"]))
    sendp(link / tag / reply if tag else link / reply, iface="eth0")

sniff(iface="eth0", filter="udp dst port 67", prn=answer, store=0, started_callback=lambda: print("serving", flush=True))
