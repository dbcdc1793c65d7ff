"""Servers that packages speak to, as much of each as a client needs to be sure of its peer.

Called by the suite with certificate and key, a directory for sockets (`%` in it is the server's name), and perhaps an
address for a name server and sockets of services that say nothing; prints where they listen, and
serves until its input ends.
"""

import asyncio
import json
import os
import ssl
import struct
import sys


async def redis(reader, writer):
    kept = {}
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        name = words[0].upper()
        if name == b"SET":
            kept[words[1]] = words[2]
            writer.write(b"+OK\r\n")
        elif name == b"GET":
            value = kept[words[1]]
            writer.write(b"$%d\r\n%s\r\n" % (len(value), value))
        elif name == b"HELLO":
            writer.write(b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n")
        else:
            writer.write(b"+OK\r\n")


async def postgresql(reader, writer):
    def message(kind, body):
        writer.write(kind + struct.pack("!i", len(body) + 4) + body)

    while True:
        size, version = struct.unpack("!ii", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        if version == 3 << 16:
            break
        writer.write(b"N")  # neither TLS nor GSSAPI
    message(b"R", struct.pack("!i", 0))
    for name, value in [(b"server_version", b"16.0"), (b"client_encoding", b"UTF8")]:
        message(b"S", name + b"\0" + value + b"\0")
    message(b"K", struct.pack("!ii", 1, 2))
    message(b"Z", b"I")
    while (kind := await reader.readexactly(1)) == b"Q":
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        message(b"T", struct.pack("!h", 1) + b"number\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
        message(b"D", struct.pack("!hi", 1, 2) + b"42")
        message(b"C", b"SELECT 1\0")
        message(b"Z", b"I")


async def mysql(reader, writer):
    body = b"\xff" + struct.pack("<H", 1130) + b"the peer of the test lets nobody in"
    writer.write(struct.pack("<I", len(body)) + body)
    await writer.drain()


async def https(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    text = b"hello over TLS"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
    await writer.drain()


async def nothing(reader, writer):
    """The end at once, which is an answer too."""


def served(speak):
    async def serve(reader, writer):
        try:
            await speak(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    return serve


class Names(asyncio.DatagramProtocol):
    """A name server for which every name has the same address."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, question, address):
        end = question.index(b"\0", 12) + 5
        kind = question[end - 4 : end - 2]
        answers = kind == b"\0\1"
        head = question[:2] + b"\x81\x80\0\1" + struct.pack("!hhh", answers, 0, 0)
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x07" if answers else b""
        self.transport.sendto(head + question[12:end] + answer, address)


async def main(certificate, key, directories, names=None, *services):
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate, key)
    server = await asyncio.start_server(served(https), "127.0.0.1", 0, ssl=secure)
    said = {"https": f"https://localhost:{server.sockets[0].getsockname()[1]}/"}
    if names:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(Names, (names, 53))
    for path in services:
        await asyncio.start_unix_server(served(nothing), path)
        os.chmod(path, 0o666)
    for name, speak in [("redis", redis), ("postgresql", postgresql), ("mysqld", mysql)]:
        server = await asyncio.start_server(served(speak), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        directory = directories.replace("%", name)
        # libpq makes the name of the socket out of the port.
        path = os.path.join(directory, f".s.PGSQL.{port}" if name == "postgresql" else f"{name}.sock")
        await asyncio.start_unix_server(served(speak), path)
        os.chmod(path, 0o666)
        said |= {f"{name}_port": port, f"{name}_socket": path, f"{name}_directory": directory}
    print(json.dumps(said), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main(*sys.argv[1:]))
