"""Packages that speak to servers: the test's own, by TCP, by a socket in the file system, by TLS."""

import asyncio
import os
import socket as sockets
import tempfile

import settings

HELLO = "hello over TLS"


def requests():
    import requests

    answer = requests.get(settings.value("https"), verify=settings.value("ca"), timeout=20)
    assert answer.text == HELLO
    try:
        requests.get(settings.value("https"), timeout=20)
    except requests.exceptions.SSLError:
        return
    raise AssertionError("a certificate that nobody vouches for was taken")


def httpx():
    import ssl

    import httpx

    trusted = ssl.create_default_context(cafile=settings.value("ca"))
    with httpx.Client(verify=trusted, timeout=20) as client:
        assert client.get(settings.value("https")).text == HELLO


def urllib3():
    import urllib3

    with urllib3.PoolManager(ca_certs=settings.value("ca")) as pool:
        assert pool.request("GET", settings.value("https"), timeout=20).data.decode() == HELLO


def aiohttp():
    import ssl

    import aiohttp

    async def ask():
        trusted = ssl.create_default_context(cafile=settings.value("ca"))
        async with aiohttp.ClientSession() as session:
            async with session.get(settings.value("https"), ssl=trusted) as answer:
                assert await answer.text() == HELLO

    asyncio.run(asyncio.wait_for(ask(), 20))


def psycopg():
    import psycopg

    for host in [settings.value("postgresql_directory"), "127.0.0.1"]:
        port = settings.value("postgresql_port")
        with psycopg.connect(host=host, port=port, user="u", dbname="d", autocommit=True) as connection:
            assert connection.execute("SELECT number").fetchone() == ("42",), host


def pymysql():
    import pymysql

    for place in [{"unix_socket": settings.value("mysqld_socket")}, {"host": "127.0.0.1"}]:
        try:
            pymysql.connect(port=settings.value("mysqld_port"), user="u", password="p", **place)
        except pymysql.err.OperationalError as error:
            assert error.args[0] == 1130 and "the peer of the test" in error.args[1], (place, error)
        else:
            raise AssertionError("the peer lets nobody in")


def redis():
    import redis

    for place in [{"unix_socket_path": settings.value("redis_socket")}, {"host": "localhost"}]:
        if "host" in place:
            place["port"] = settings.value("redis_port")
        with redis.Redis(**place) as client:
            assert client.set("key", "value") and client.get("key") == b"value", place


def grpcio():
    from concurrent import futures

    import grpc

    def plus_one(request, context):
        return bytes([request[0] + 1])

    handler = grpc.method_handlers_generic_handler(
        "test.Numbers", {"PlusOne": grpc.unary_unary_rpc_method_handler(plus_one)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary("/test.Numbers/PlusOne")(b"\x01", timeout=20) == b"\x02"
    finally:
        server.stop(None)


def celery():
    from celery import Celery

    with tempfile.TemporaryDirectory() as directory:
        app = Celery("client", broker="filesystem://", backend=f"file://{directory}")
        app.conf.broker_transport_options = {
            "data_folder_in": directory,
            "data_folder_out": directory,
            "control_folder": os.path.join(directory, "control"),
        }
        app.send_task("shop.pack", args=[7])
        assert [name for name in os.listdir(directory) if name.endswith(".msg")]
    app = Celery("memory", broker="memory://")
    app.send_task("shop.pack", args=[7])


def boto3():
    import boto3

    client = boto3.client(
        "s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    url = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})
    assert "X-Amz" in url or "Signature" in url


def sentry_sdk():
    import sentry_sdk

    sent = []

    class Transport(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope):
            sent.append(envelope)

    sentry_sdk.init(dsn="http://key@localhost/1", transport=Transport)
    sentry_sdk.capture_message("text")
    sentry_sdk.flush()
    assert sent
    sentry_sdk.init()


def dnspython():
    import dns.message
    import dns.resolver

    assert dns.resolver.Resolver().nameservers
    assert dns.message.make_query("localhost", "A").to_wire()


def uvloop():
    import uvloop

    async def work():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\n")
        assert await reader.readline() == b"line\n"
        writer.close()
        server.close()
        addresses = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        assert addresses

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(work(), 20))
    finally:
        loop.close()


def gevent():
    import gevent
    from gevent import server, socket

    def echo(connection, address):
        connection.sendall(connection.recv(100))

    listener = server.StreamServer(("127.0.0.1", 0), echo)
    listener.start()
    try:
        with gevent.Timeout(20), socket.create_connection(listener.address) as client:
            client.sendall(b"text")
            assert client.recv(100) == b"text"
            assert socket.getaddrinfo("localhost", 80)
    finally:
        listener.stop()


def tornado():
    import tornado.httpclient
    import tornado.httpserver
    import tornado.netutil
    import tornado.web

    class Hello(tornado.web.RequestHandler):
        def get(self):
            self.write("text")

    async def work():
        listening = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Hello)]))
        server.add_sockets(listening)
        url = f"http://127.0.0.1:{listening[0].getsockname()[1]}/"
        answer = await tornado.httpclient.AsyncHTTPClient().fetch(url)
        assert answer.body == b"text"
        server.stop()

    asyncio.run(asyncio.wait_for(work(), 20))


def pyzmq():
    import zmq

    with tempfile.TemporaryDirectory() as directory, zmq.Context() as context:
        for place in ["inproc://here", f"ipc://{directory}/socket"]:
            with context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
                for end in (server, client):
                    end.linger, end.rcvtimeo = 0, 20_000
                server.bind(place)
                client.connect(place)
                client.send(b"question")
                assert server.recv() == b"question", place
                server.send(b"answer")
                assert client.recv() == b"answer", place


def socket():
    """Names, and each family that a site uses."""
    assert sockets.getaddrinfo("localhost", 80)
    assert sockets.gethostname() and sockets.if_nameindex()
    left, right = sockets.socketpair()
    with left, right:
        left.sendall(b"text")
        assert right.recv(100) == b"text"
    with sockets.socket(sockets.AF_INET6) as one, sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM):
        one.settimeout(5)


def ssl():
    """The system's certificates, and a server with TLS."""
    import ssl

    trusted = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    there = os.path.exists(paths.cafile or "") or os.path.isdir(paths.capath or "")
    if there and os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        trusted.load_verify_locations("/etc/ssl/certs/ca-certificates.crt")
        assert trusted.cert_store_stats()["x509_ca"] > 10
    trusted.load_verify_locations(settings.value("ca"))
    port = int(settings.value("https").rsplit(":", 1)[1].split("/")[0])
    with sockets.create_connection(("localhost", port), 20) as plain:
        with trusted.wrap_socket(plain, server_hostname="localhost") as secure:
            assert secure.version().startswith("TLSv1")


def logging():
    """A line to the system's log."""
    import logging
    from logging.handlers import SysLogHandler

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as log:
            log.bind(path)
            handler = SysLogHandler(path)
            handler.emit(logging.LogRecord("site", logging.ERROR, "", 0, "text", (), None))
            handler.close()
            assert b"text" in log.recv(1000)
    if settings.value("system_log"):
        SysLogHandler("/dev/log").close()
