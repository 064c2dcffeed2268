"""Name servers for dns_upstream.rs: ADDRESS=HOW... Each answers at its address as HOW says, below; first it says that
it does, or, for the signed zone, prints the zone's trust anchor for delv."""

import base64, selectors, socket, struct, sys, time

import dns.dnssec, dns.flags, dns.message, dns.name, dns.rcode, dns.rrset
import nacl.signing

ADDRESS = "198.51.100.80"


def record(name, type, value):
    return dns.rrset.from_text(name, 60, "IN", type, value)


def answer(query, *records):
    response = dns.message.make_response(query, recursion_available=True)
    response.answer += [record(*fields) for fields in records]
    return response


def error(query, code, with_opt):
    response = answer(query)
    response.set_rcode(code)
    if not with_opt:
        response.use_edns(-1)
    return response.to_wire()


def header(query, code):
    return struct.pack("!6H", query.id, 0x8180 | code, 0, 0, 0, 0)


# What a server that rejects EDNS answers to a query that has it.
REJECTIONS = {
    "bare-formerr": lambda query: header(query, dns.rcode.FORMERR),
    "bare-refused": lambda query: header(query, dns.rcode.REFUSED),
    "formerr": lambda query: error(query, dns.rcode.FORMERR, False),
    "formerr-with-opt": lambda query: error(query, dns.rcode.FORMERR, True),
    "notimp": lambda query: error(query, dns.rcode.NOTIMP, False),
    "servfail": lambda query: error(query, dns.rcode.SERVFAIL, False),
    "badvers": lambda query: error(query, dns.rcode.BADVERS, True),
    "silence": lambda query: None,
}


def rejecting(how):
    def respond(query):
        if query.edns >= 0:
            return REJECTIONS[how](query)
        return answer(query, (query.question[0].name, "A", ADDRESS)).to_wire()

    return respond


def denying(query):
    """Has one name, and denies those above it, which exist."""
    name = query.question[0].name
    if name == dns.name.from_text("selector._domainkey.example"):
        return answer(query, (name, "TXT", "key")).to_wire()
    response = answer(query)
    response.set_rcode(dns.rcode.NXDOMAIN)
    response.authority.append(record("example.", "SOA", "ns.example. host.example. 1 3600 600 86400 3600"))
    return response.to_wire()


class SignedZone:
    """The zone signed.example with a wildcard and a DNAME that leads to it, signed with Ed25519 (RFC 8080)."""

    ORIGIN = dns.name.from_text("signed.example")

    def __init__(self):
        self.key = nacl.signing.SigningKey.generate()
        self.public = base64.b64encode(self.key.verify_key.encode()).decode()
        self.dnskey = record(self.ORIGIN, "DNSKEY", "257 3 15 " + self.public)
        wildcard = dns.name.from_text("*.wild", self.ORIGIN)
        self.nsec = record(wildcard, "NSEC", f"{self.ORIGIN} A RRSIG NSEC")

    def anchor(self):
        return f'trust-anchors {{ {self.ORIGIN} static-key 257 3 15 "{self.public}"; }};'

    def signed(self, records, labels=None):
        """The records and their signature, by that of a name with fewer labels if it is a wildcard's."""
        owner = records.name
        if labels is None:
            labels = len(owner) - 1 - owner.is_wild()
        if labels < len(owner) - 1:
            owner = dns.name.Name([b"*", *owner.labels[-labels - 1 :]])
        now = int(time.time())
        key_tag = dns.dnssec.key_id(self.dnskey[0])
        times = (now + 3600, now - 3600)
        fixed = struct.pack("!HBBIIIH", records.rdtype, 15, labels, records.ttl, *times, key_tag)
        data = fixed + self.ORIGIN.to_digestable()
        for octets in sorted(each.to_digestable() for each in records):
            data += owner.to_digestable() + struct.pack("!HHIH", records.rdtype, 1, records.ttl, len(octets)) + octets
        signature = base64.b64encode(self.key.sign(data).signature).decode()
        fields = f"{dns.rdatatype.to_text(records.rdtype)} 15 {labels} {records.ttl} {times[0]} {times[1]} {key_tag}"
        return [records, record(records.name, "RRSIG", f"{fields} {self.ORIGIN} {signature}")]

    def respond(self, query):
        name = query.question[0].name
        response = answer(query)
        alias = dns.name.from_text("d", self.ORIGIN)
        if name == self.ORIGIN:
            response.answer += self.signed(self.dnskey)
            return response.to_wire()
        if name.is_subdomain(alias):
            target = dns.name.from_text("wild", self.ORIGIN)
            response.answer += self.signed(record(alias, "DNAME", str(target)))
            name = name.relativize(alias).derelativize(target)
            response.answer.append(record(query.question[0].name, "CNAME", str(name)))
        response.answer += self.signed(record(name, "A", ADDRESS), labels=3)
        response.authority += self.signed(record(self.ORIGIN, "NS", f"ns.{self.ORIGIN}")) + self.signed(self.nsec)
        return response.to_wire()


zone = SignedZone()
servers = selectors.DefaultSelector()
for argument in sys.argv[1:]:
    address, how = argument.split("=")
    respond = {"denying": denying, "signed": zone.respond}.get(how) or rejecting(how)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    servers.register(server, selectors.EVENT_READ, respond)
print(zone.anchor() if how == "signed" else "listening", flush=True)
while True:
    for key, _ in servers.select():
        wire, client = key.fileobj.recvfrom(4096)
        response = key.data(dns.message.from_wire(wire))
        if response:
            key.fileobj.sendto(response, client)
