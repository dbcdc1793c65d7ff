"""A panic in the worker's own code: PyO3 turns it into a PanicException, and
back into a panic wherever that comes to a caller in Rust. So an application
that raises one makes the worker panic for certain.
"""

import harness
import wire

PANIC = """
    import threading, traceback
    def panic(text):
        for kind in BaseException.__subclasses__():
            if kind.__module__ == "pyo3_runtime":
                raise kind(text)
    class Body:
        closed = 0
        def __init__(self, where):
            self.where = where
        def __iter__(self):
            yield b"first"
            panic("while iterating")
        def close(self):
            Body.closed += 1
            if self.where == "close":
                panic("in close")
    def application(environ, start_response):
        where = environ["PATH_INFO"]
        if where == "closed":
            start_response("200 OK", [])
            return [str(Body.closed).encode()]
        if where == "dump":
            traceback.format_stack = lambda frame: panic("in the control thread")
        if where == "report":
            traceback.format_exception = lambda *arguments: panic("in the report")
            raise KeyError("to be reported")
        if where == "call":
            print("partial line", end="")
            panic("in the call")
        start_response("200 OK", [("Content-Length", "9")] if where == "close" else [])
        if where == "iterate":
            return Body(where)
        if where == "close":
            body = Body(where)
            body.__class__ = type("Good", (Body,), {"__iter__": lambda self: iter([b"unharmed."])})
            return body
        return [b"hello"]
"""


class Panics(harness.Case):
    def ask(self, connection, path, where):
        return connection.get(path, environ={"PATH_INFO": where})

    def test_ends_its_request_and_nothing_else(self):
        worker, connection, path = self.serve(PANIC)
        for _ in range(3):
            answer = self.ask(connection, path, "call")
            self.assertEqual((answer.status, answer.failure), (None, 13))
            self.assertIn("panic in the worker: in the call", answer.text)
            self.assertIn("panic in the worker: in the call", answer.log)
            self.assertIn("partial line", answer.log)
            self.assertEqual(self.ask(connection, path, "").body, b"hello")
        self.assertEqual(self.ask(worker.connect(), path, "").body, b"hello")
        worker.tell(wire.QUERY)
        self.until(lambda: worker.expect("Report")[1]["in_flight"] == 0 or worker.tell(wire.QUERY))

    def test_after_the_head_the_answer_is_broken_off_and_closed(self):
        _, connection, path = self.serve(PANIC)
        answer = self.ask(connection, path, "iterate")
        self.assertEqual((answer.status, answer.body, answer.failure), (200, b"first", 13))
        self.assertIn("while iterating", answer.text)
        self.assertEqual(self.ask(connection, path, "closed").body, b"1")

    def test_in_close_harms_no_answer(self):
        _, connection, path = self.serve(PANIC)
        answer = self.ask(connection, path, "close")
        self.assertEqual((answer.status, answer.body, answer.failure), (200, b"unharmed.", None))
        self.assertIn("panic in the worker: in close", answer.log)

    def test_outside_of_the_application_fails_the_request_and_closes_the_connection(self):
        worker, connection, path = self.serve(PANIC)
        answer = self.ask(connection, path, "report")
        self.assertEqual((answer.status, answer.failure, answer.flags), (None, 13, wire.FLAG_CLOSE))
        self.assertIn("in the report", answer.text)
        self.assertIn("panic in the worker while it handled a request: in the report", answer.log)
        self.assertEqual(worker.expect("Closed")[1], connection.number)
        again = worker.connect()
        for _ in range(3):
            self.assertEqual(self.ask(again, path, "").body, b"hello")
        worker.tell(wire.QUERY)
        self.until(lambda: worker.expect("Report")[1]["in_flight"] == 0 or worker.tell(wire.QUERY))

    def test_in_a_script_that_loads_is_a_failed_load(self):
        _, connection, path = self.serve(PANIC)
        bad = self.script("""
            for kind in BaseException.__subclasses__():
                if kind.__module__ == "pyo3_runtime":
                    raise kind("while loading")
        """)
        answer = connection.get(bad)
        self.assertEqual(answer.failure, 11)
        self.assertIn("while loading", answer.text)
        self.assertEqual(self.ask(connection, path, "").body, b"hello")

    def test_in_the_control_thread_ends_the_worker_for_all_to_see(self):
        worker, connection, path = self.serve(PANIC)
        self.assertEqual(self.ask(connection, path, "dump").body, b"hello")
        worker.tell(wire.DUMP)
        self.assertEqual(worker.wait(), -6)
        self.assertIn("the control thread cannot go on", worker.output())
        self.assertIn("in the control thread", worker.output())
