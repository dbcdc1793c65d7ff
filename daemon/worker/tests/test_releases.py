"""A worker and a supervisor of different releases: what neither knows of the other."""

import os
import unittest

import harness
import wire

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""


class Specifications(harness.Case):
    def test_an_option_that_nobody_knows_is_refused_in_words(self):
        worker = self.worker(hover_height="9 cm")
        self.assertEqual(worker.wait(), 120)
        self.assertIn("unknown option `hover-height`", worker.output())
        self.assertIn("release", worker.output())

    def test_a_value_that_cannot_be_read_is_refused_in_words(self):
        worker = self.worker(listen_backlog="many")
        self.assertEqual(worker.wait(), 120)
        self.assertIn("option `listen-backlog`: `many`", worker.output())

    def test_another_version_is_refused_with_both_ranges(self):
        worker = self.worker(versions=(3, 3))
        self.assertEqual(worker.wait(), 120)
        self.assertIn("the supervisor speaks protocol versions 3 to 3, this worker 2 to 2", worker.output())

    def test_a_newer_supervisor_that_speaks_our_version_too_is_followed(self):
        path = self.script(HELLO)
        worker = self.worker(versions=(2, 5))
        worker.expect("Ready")
        self.assertEqual(worker.connect().get(path).body, b"hello")


class Messages(harness.Case):
    def test_one_that_nobody_knows_is_ignored_with_its_descriptors(self):
        worker, connection, path = self.serve(HELLO)
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        for _ in range(3):
            worker.tell(wire.uint(99) + b"whatever follows", [writing])
        os.close(writing)
        # A connection that is assigned behind it is not mistaken for that descriptor.
        other = worker.connect()
        self.assertEqual(other.get(path).body, b"hello")
        self.assertEqual(connection.get(path).body, b"hello")
        self.assertEqual(os.read(reading, 1), b"", "the descriptors were closed")
        told = [line for line in worker.output().splitlines() if "does not know" in line]
        self.assertEqual(len(told), 1, worker.output())

    def test_fields_at_the_end_that_nobody_knows_are_ignored(self):
        worker, connection, path = self.serve(HELLO)
        worker.tell(wire.QUERY + b"\x07more")
        worker.expect("Report")
        worker.tell(wire.stop(5000) + b"\x01")
        self.assertEqual(worker.wait(), 0)

    def test_a_preloader_ignores_what_it_does_not_know(self):
        path = self.script(HELLO)
        preloader = self.worker(preloader=True, preload_scripts=[(path, "", "application")])
        preloader.expect("Ready")
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        preloader.tell(wire.uint(99), [writing])
        os.close(writing)
        worker = harness.Forked(preloader)
        self.addCleanup(worker.kill)
        worker.expect("Forked")
        worker.expect("Ready")
        self.assertEqual(worker.connect().get(path).body, b"hello")


if __name__ == "__main__":
    unittest.main()
