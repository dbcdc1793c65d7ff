"""A preloader: loads once, forks workers that are like any other."""

import os
import signal

import harness
import wire

COUNTED = """
    import os, random, sys, threading
    open(__file__ + ".count", "a").write("x")
    LOADER = os.getpid()
    FORKS = []
    os.register_at_fork(after_in_child=lambda: FORKS.append(os.getpid()))
    random.random()

    def application(environ, start_response):
        print("from", environ["PATH_INFO"], file=sys.__stderr__, flush=True)
        start_response("200 OK", [])
        fds = sorted(os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
                     if os.path.lexists("/proc/self/fd/" + n))
        seen = [os.getpid(), LOADER, os.getpgid(0), os.getppid(), FORKS, random.random(), fds,
                threading.main_thread().ident is not None, threading.current_thread().name,
                os.environ.get("WSGID_TEST_SEEN")]
        os.environ["WSGID_TEST_SEEN"] = "yes"
        return [repr(seen).encode()]
"""
THREAD = """
    import threading, time
    threading.Thread(target=time.sleep, args=(600,), name="the-poller", daemon=True).start()
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b""]
"""
BROKEN = "raise ValueError('half')\n"
HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""


class Preload(harness.Case):
    def preloader(self, source, **options):
        path = self.script(source)
        preloader = self.worker(preloader=True, preload_scripts=[(path, "", "application")], **options)
        return preloader, path

    def fork(self, preloader, slot=0):
        worker = harness.Forked(preloader, slot)
        self.addCleanup(worker.kill)
        first = worker.message()
        self.assertEqual(first, ("Forked",), "it says who it is before anything else")
        return worker

    def seen(self, worker, path):
        answer = worker.connect().get(path)
        self.assertEqual(answer.status, 200, answer.log)
        return eval(answer.body.decode())

    def test_a_forked_worker_runs_what_its_preloader_was_told(self):
        path, other = self.script(HELLO), self.script(HELLO)
        preloader = self.worker(preloader=True, preload_scripts=[(path, "", "application")], runs=([path], []))
        preloader.expect("Ready")
        connection = self.fork(preloader).connect()
        self.assertEqual(connection.get(path).status, 200)
        self.assertEqual(connection.get(other).failure, 3)

    def test_what_was_asked_for_at_import_is_kept_by_the_workers(self):
        preloader, path = self.preloader("""
            import mod_wsgi
            from mod_wsgi import active_requests
            mod_wsgi.start_recording_metrics()
            def application(environ, start_response):
                start_response("200 OK", [])
                metrics = mod_wsgi.request_metrics()
                return [repr([list(active_requests), metrics["request_count"], metrics["status_2xx"]]).encode()]
        """)
        preloader.expect("Ready")
        worker = self.fork(preloader)
        worker.expect("Ready")
        connection = worker.connect()
        for count in (0, 1):
            answer = connection.get(path, environ={"mod_wsgi.request_id": "r%d" % count})
            self.assertEqual(answer.body.decode(), repr([["r%d" % count], count, count]), answer.log)

    def test_it_loads_once_and_forks_many(self):
        preloader, path = self.preloader(COUNTED, threads=3)
        self.assertEqual(preloader.expect("Ready")[2], [])
        workers = [self.fork(preloader, slot) for slot in range(3)]
        for worker in workers:
            worker.expect("Ready")
        seen = [self.seen(worker, path) for worker in workers]
        with open(path + ".count") as file:
            self.assertEqual(file.read(), "x")
        pids = {one[0] for one in seen}
        self.assertEqual(len(pids), 3)
        for pid, loader, group, parent, forks, _, fds, _, thread, before in seen:
            self.assertEqual(loader, preloader.process.pid)
            self.assertEqual(group, pid, "a process group of its own, so that it can be signalled")
            self.assertNotEqual(parent, loader, "it is not the preloader's child")
            self.assertEqual(forks, [pid], "hooks ran once, in the worker")
            self.assertTrue(thread.startswith("wsgid-"), thread)
            self.assertIsNone(before, "no worker sees what another did")
            # Its control socket and its connection, the scheduler, two wake-ups.
            self.assertEqual(len([fd for fd in fds if fd.startswith("socket:")]), 2, fds)
            self.assertEqual(len([fd for fd in fds if "eventpoll" in fd]), 1, fds)
            self.assertEqual(len([fd for fd in fds if "pipe:" in fd]), 3, fds)
        self.assertEqual(len({one[5] for one in seen}), 3, "random numbers differ")
        for worker in workers:
            self.until(lambda: "from /" in worker.output(), "its own standard error")
        self.assertNotIn("from /", preloader.output())

    def test_workers_outlive_it_and_it_ends_with_its_supervisor(self):
        preloader, path = self.preloader(HELLO)
        preloader.expect("Ready")
        worker = self.fork(preloader)
        worker.expect("Ready")
        preloader.control.shutdown(2)
        self.assertEqual(preloader.wait(), 0)
        self.assertEqual(worker.connect().get(path).body, b"hello")
        worker.tell(wire.DRAIN)
        self.until(lambda: worker.message() is None, "the end of a worker that drained")

    def test_signals_end_it(self):
        preloader, _ = self.preloader(HELLO)
        preloader.expect("Ready")
        preloader.process.send_signal(signal.SIGUSR1)
        preloader.process.send_signal(signal.SIGHUP)
        self.fork(preloader).expect("Ready")
        preloader.process.send_signal(signal.SIGTERM)
        self.assertEqual(preloader.wait(), 0)

    def test_a_worker_drains_at_sigterm(self):
        preloader, path = self.preloader(COUNTED)
        preloader.expect("Ready")
        worker = self.fork(preloader)
        worker.expect("Ready")
        pid = self.seen(worker, path)[0]
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: worker.message() is None, "the end of a worker")

    def test_it_does_not_fork_with_a_second_thread(self):
        preloader, _ = self.preloader(THREAD)
        why = preloader.expect("CannotFork")[1]
        self.assertIn("`the-poller`", why)
        self.assertIn("1 other thread", why)

    def test_what_failed_in_it_failed_in_the_worker(self):
        preloader, path = self.preloader(BROKEN)
        failed = preloader.expect("Ready")[2]
        self.assertIn("ValueError: half", failed[0][1])
        worker = self.fork(preloader)
        self.assertEqual(worker.expect("Ready")[2], failed)
        answer = worker.connect().get(path)
        self.assertEqual(answer.failure, 11)
        self.assertIn("ValueError: half", answer.log)

    def test_many_threads_serve_in_a_forked_worker(self):
        preloader, path = self.preloader("""
            import threading
            BARRIER = threading.Barrier(4)
            def application(environ, start_response):
                BARRIER.wait(20)
                start_response("200 OK", [])
                return [b"together"]
        """, threads=4)
        preloader.expect("Ready")
        worker = self.fork(preloader)
        worker.expect("Ready")
        connections = [worker.connect() for _ in range(4)]
        for connection in connections:
            connection.begin(path)
        for connection in connections:
            self.assertEqual(connection.answer().body, b"together")


class Huge(harness.Case):
    def test_an_exception_of_any_size_does_not_hide_that_the_worker_is_ready(self):
        paths = [self.script("raise ValueError('first' + 'x' * 300000 + 'last')") for _ in range(30)]
        for preloader in (False, True):
            worker = self.worker(preloader=preloader, preload_scripts=[(path, "", "application") for path in paths])
            failed = worker.expect("Ready")[2]
            self.assertEqual([path for path, _ in failed], paths)
            self.assertIn("ValueError: first", failed[0][1])


class Loaded(harness.Case):
    def test_a_script_that_nobody_named_is_reported_once(self):
        worker, connection, path = self.serve(HELLO)
        for _ in range(2):
            self.assertEqual(connection.get(path).body, b"hello")
        self.assertEqual(worker.expect("Loaded")[1], path)
        self.assertNotIn("Loaded", [seen[0] for seen in worker.seen])
