"""A request goes the whole way, again and again, on several connections."""

import unittest

import harness
import wire

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"Hello ", b"World!"]
"""


class Basic(harness.Case):
    def test_hello(self):
        worker, connection, path = self.serve(HELLO)
        for _ in range(3):
            answer = connection.get(path)
            self.assertEqual((answer.status, answer.reason), (200, b"OK"))
            self.assertEqual(answer.headers, [(b"Content-Type", b"text/plain")])
            self.assertEqual(answer.body, b"Hello World!")
            self.assertEqual(answer.kinds, [wire.RESPONSE, wire.DATA, wire.END])
            self.assertEqual(answer.logs, [])

    def test_many_connections(self):
        worker, _, path = self.serve(HELLO, threads=3)
        connections = [worker.connect(nonce) for nonce in range(1, 40)]
        for connection in connections:
            connection.begin(path)
        for connection in connections:
            self.assertEqual(connection.answer().body, b"Hello World!")
            connection.close()

    def test_drain_releases_idle_connections_and_exits(self):
        worker, connection, path = self.serve(HELLO)
        self.assertEqual(connection.get(path).status, 200)
        worker.tell(wire.DRAIN)
        self.assertEqual(worker.expect("Release"), ("Release", connection.number))
        self.assertEqual(worker.wait(), 0)


if __name__ == "__main__":
    unittest.main()
