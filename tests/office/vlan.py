"""Frames with VLAN tags on eth0, as a host without a VLAN device sends and hears them.

ping GATEWAY VID...     asks GATEWAY for an echo with each tag in turn, and prints the tags that were answered
send MAC VID OCTETS     sends MAC one TCP super-frame with a tag, which carries so many octets
hear VID OCTETS         prints "listening", then the sizes of the frames with that tag until they have carried so many
flood VID               sends super-frames with a tag for ever
dhcp ADDRESS            gives ADDRESS to whoever asks by DHCP, in frames with a tag of VLAN 0
"""
import fcntl, socket, struct, sys

SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, TP_STATUS_VLAN_VALID = 263, 8, 15, 1 << 4
PRIORITY = 5
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind(("eth0", 3))
sock.settimeout(20)
own_mac = sock.getsockname()[4]


def own_address():
    request = struct.pack("256s", b"eth0")
    return fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8915, request)[20:24]


def link(to, ether_type, vid):
    return to + own_mac + struct.pack("!HHH", 0x8100, PRIORITY << 13 | vid, ether_type)


def checksum(octets):
    octets += bytes(len(octets) % 2)
    total = sum(struct.unpack("!%dH" % (len(octets) // 2), octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol, source, destination, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0, source, destination)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def super_frame(to, vid, octets):
    """The frame behind its virtio-net header: TCP over IPv4, to be cut after 1000 octets."""
    tcp = struct.pack("!HHIIBBHHH", 4000, 9, 1, 1, 5 << 4, 0x10, 1000, 0, 0)
    ethernet = link(to, 0x0800, vid)
    packet = ipv4(6, bytes([10, 5, 0, 1]), bytes([10, 5, 0, 2]), tcp + b"x" * octets)
    start = len(ethernet) + 20
    return struct.pack("=BBHHHH", 1, 1, start + 20, 1000, start, 16) + ethernet + packet


def ping(gateway, *vids):
    gateway, own = socket.inet_aton(gateway), own_address()
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, own_mac, own, bytes(6), gateway)
    sock.send(link(b"\xff" * 6, 0x0806, 0) + arp)
    gateway_mac = next(f[6:12] for f in frames() if f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and f[28:32] == gateway)
    for vid in vids:
        echo = struct.pack("!BBHHH", 8, 0, 0, 0x7000, int(vid))
        echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        sock.send(link(gateway_mac, 0x0800, int(vid)) + ipv4(1, own, gateway, echo))
    # Answers keep the order of the questions, so that the last one's says that no other will come.
    for frame in frames():
        if frame[23:24] == b"\1" and frame[34:35] == b"\0" and frame[38:40] == b"\x70\0":
            vid = struct.unpack("!H", frame[40:42])[0]
            print(vid, flush=True)
            if vid == int(vids[-1]):
                return


def frames():
    while True:
        yield sock.recv(65600)


def send(mac, vid, octets):
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.send(super_frame(bytes.fromhex(mac.replace(":", "")), int(vid), int(octets)))


def hear(vid, octets):
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    print("listening", flush=True)
    heard = 0
    while heard < int(octets):
        frame, extra, _, _ = sock.recvmsg(65600, 256)
        data = next(data for level, kind, data in extra if (level, kind) == (SOL_PACKET, PACKET_AUXDATA))
        status, _, _, _, _, control, _ = struct.unpack("=IIIHHHH", data[:20])
        if status & TP_STATUS_VLAN_VALID and control == PRIORITY << 13 | int(vid) and frame[23:24] == b"\6":
            heard += len(frame) - 54
            print(len(frame), end=" ", flush=True)
    print(flush=True)


def flood(vid):
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    frame = super_frame(bytes([2, 0, 0, 0, 5, 2]), int(vid), 60000)
    print("flooding", flush=True)
    while True:
        try:
            sock.send(frame)
        except OSError:
            pass


def dhcp(address):
    print("serving", flush=True)
    address, own = socket.inet_aton(address), own_address()
    for frame in frames():
        if frame[12:14] != b"\x08\0" or frame[23:24] != b"\x11" or frame[36:38] != struct.pack("!H", 67):
            continue
        asked = frame[42:]
        kind = asked[240:][asked[240:].index(b"\x35\1") + 2]
        answer = {1: 2, 3: 5}.get(kind)
        if answer is None:
            continue
        options = b"\x63\x82\x53\x63" + bytes([53, 1, answer, 54, 4]) + own + struct.pack("!BBI", 51, 4, 3600)
        options += bytes([1, 4, 255, 255, 255, 0, 3, 4]) + own + b"\xff"
        message = b"\2\1\6\0" + asked[4:8] + bytes(8) + address + bytes(8) + asked[28:44] + bytes(192) + options
        datagram = struct.pack("!HHHH", 67, 68, 8 + len(message), 0) + message
        sock.send(link(frame[6:12], 0x0800, 0) + ipv4(17, own, address, datagram))


globals()[sys.argv[1]](*sys.argv[2:])
