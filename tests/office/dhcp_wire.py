"""Prints the DHCP messages on eth0, a line each, as they pass.

A client's: its type, "unicast" or "broadcast", and "of ADDRESS" if it has that one. A server's: its type, and the address
that it gives. It ends after a minute and a half without any.
"""
import ipaddress, socket, time

TYPES = "? DISCOVER OFFER REQUEST DECLINE ACK NAK RELEASE INFORM".split()
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 0))
SILENCE_SECS_MAX = 90
print("listening", flush=True)
end = time.monotonic() + SILENCE_SECS_MAX
while (left := end - time.monotonic()) > 0:
    wire.settimeout(left)
    try:
        frame = wire.recv(65536)
    except TimeoutError:
        break
    if frame[12:14] != b"\x08\x00" or frame[23] != 17:
        continue
    ip = frame[14:]
    udp = ip[(ip[0] & 15) * 4:]
    message = udp[8:]
    if int.from_bytes(udp[2:4], "big") not in (67, 68) or message[236:240] != b"\x63\x82\x53\x63":
        continue
    end = time.monotonic() + SILENCE_SECS_MAX
    options, kind = message[240:], 0
    while options and options[0] != 255:
        if options[0] == 53:
            kind = options[2]
        options = options[1:] if options[0] == 0 else options[2 + options[1]:]
    words = [TYPES[kind]]
    own, given = (ipaddress.ip_address(message[at:at + 4]) for at in (12, 16))
    if message[0] == 1:
        words += ["broadcast" if frame[0] & 1 else "unicast"] + (["of", str(own)] if int(own) else [])
    elif int(given):
        words.append(str(given))
    print(*words, flush=True)
