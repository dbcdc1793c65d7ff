"""The standard library and packages that ask the system: processes, memory, terminals, names."""

import os
import sys
import tempfile
import threading


def square(number):
    return number * number


def psutil():
    import psutil

    assert psutil.cpu_count() >= 1
    assert psutil.virtual_memory().total > 1 << 20
    me = psutil.Process()
    assert me.memory_info().rss > 1 << 20 and me.num_threads() >= 1
    assert me.ppid() == os.getppid() and me.open_files() is not None
    assert psutil.cpu_times().user >= 0 and psutil.boot_time() > 0
    assert psutil.disk_usage("/").total > 0 and psutil.net_if_addrs()
    assert os.getpid() in psutil.pids() and psutil.disk_partitions(all=True)
    assert me.rlimit(psutil.RLIMIT_NOFILE)[0] > 0 and me.nice() is not None and me.cpu_affinity()
    assert me.parent() is None or me.parent().pid == me.ppid()


def priorities():
    """The same process by its number, as libraries with threads do it."""
    import psutil

    me = psutil.Process()
    me.nice(me.nice())
    me.cpu_affinity(me.cpu_affinity())


def multiprocessing():
    """A pool by each way of starting, shared memory, and a manager."""
    import multiprocessing
    from multiprocessing import shared_memory

    for method in ["fork", "spawn", "forkserver"]:
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, range(4)) == [0, 1, 4, 9], method
    memory = shared_memory.SharedMemory(create=True, size=100)
    try:
        context = multiprocessing.get_context("fork")
        child = context.Process(target=write_there, args=(memory.name,))
        child.start()
        child.join(20)
        assert child.exitcode == 0 and bytes(memory.buf[:4]) == b"text"
    finally:
        memory.close()
        memory.unlink()
    with context.Manager() as manager:
        shared = manager.dict(key="value")
        assert shared["key"] == "value"


def write_there(name):
    from multiprocessing import shared_memory

    memory = shared_memory.SharedMemory(name)
    memory.buf[:4] = b"text"
    memory.close()


def concurrent_futures():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(square, range(4))) == [0, 1, 4, 9]


def subprocess():
    """A pipe between two programs, and a program made in a temporary directory."""
    import subprocess

    first = subprocess.Popen(["printf", "b\\na\\n"], stdout=subprocess.PIPE)
    second = subprocess.run(["sort"], stdin=first.stdout, capture_output=True, timeout=20)
    first.stdout.close()
    assert first.wait(20) == 0 and second.stdout == b"a\nb\n", second
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "program")
        with open(path, "w") as file:
            file.write("#!/bin/sh\necho made\n")
        os.chmod(path, 0o700)
        assert subprocess.check_output([path], timeout=20) == b"made\n"


def pexpect():
    import pexpect

    child = pexpect.spawn("/bin/sh", ["-c", "read word; echo got $word; test -t 0"], timeout=20)
    child.sendline("this")
    child.expect("got this")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child


def pty():
    main, other = os.openpty()
    try:
        assert os.ttyname(other).startswith("/dev/pts/") and os.isatty(other)
        os.close(os.open(os.ttyname(other), os.O_RDWR | os.O_NOCTTY))
        os.write(other, b"text\n")
        assert os.read(main, 100) == b"text\r\n"
    finally:
        os.close(main)
        os.close(other)


def tempfile_():
    for directory in [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            file.write(b"x" * 100_000)
            file.flush()
            assert os.path.getsize(file.name) == 100_000, directory
    with tempfile.TemporaryFile() as file, tempfile.SpooledTemporaryFile(10) as spooled:
        file.write(b"text")
        spooled.write(b"x" * 100)


def locale():
    import locale

    before = locale.setlocale(locale.LC_ALL)
    try:
        for name in ["C.UTF-8", ""]:
            assert locale.setlocale(locale.LC_ALL, name)
        assert locale.getpreferredencoding(False).upper().replace("-", "") == "UTF8"
    finally:
        locale.setlocale(locale.LC_ALL, before)


def zoneinfo():
    import datetime
    import zoneinfo

    if not os.path.isdir("/usr/share/zoneinfo"):
        return
    zone = zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
    assert datetime.datetime(2024, 7, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=2)


def pwd():
    import grp
    import pwd

    me = pwd.getpwuid(os.getuid())
    assert pwd.getpwnam(me.pw_name).pw_uid == os.getuid() and pwd.getpwnam("root").pw_uid == 0
    assert grp.getgrnam(grp.getgrgid(os.getgid()).gr_name).gr_gid == os.getgid()


def ctypes():
    """A call back from C, and a library out of a temporary directory."""
    import ctypes
    import shutil

    numbers = (ctypes.c_int * 3)(3, 1, 2)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    compare = kind(lambda a, b: a[0] - b[0])
    ctypes.CDLL(None).qsort(numbers, 3, ctypes.sizeof(ctypes.c_int), compare)
    assert list(numbers) == [1, 2, 3]
    import _ctypes

    original = getattr(_ctypes, "__file__", None)
    if original:
        with tempfile.TemporaryDirectory() as directory:
            assert ctypes.CDLL(shutil.copy(original, directory))


def mmap():
    """Memory that is written and run, a mapped file, and a file without a name."""
    import mmap

    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as memory:
        memory[0] = 0xC3
    with tempfile.TemporaryFile() as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096) as memory:
            memory[:4] = b"text"
            memory.flush()
        assert os.pread(file.fileno(), 4, 0) == b"text"
    descriptor = os.memfd_create("name")
    os.write(descriptor, b"text")
    os.close(descriptor)


def fcntl():
    """Locks between two processes."""
    import fcntl

    with tempfile.NamedTemporaryFile() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with open(file.name) as other:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def asyncio():
    """An event loop with a subprocess and a thread."""
    import asyncio

    async def work():
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        said, _ = await child.communicate(b"text")
        assert said == b"text"
        assert await asyncio.to_thread(square, 3) == 9

    asyncio.run(asyncio.wait_for(work(), 20))


def threading_():
    """A thread with a name and a processor, a timer, and priorities of its own."""
    seen = []

    def work():
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.nice(0)
        seen.append(threading.get_native_id())

    thread = threading.Thread(target=work, name="named")
    thread.start()
    thread.join(20)
    assert seen and seen[0] != threading.main_thread().native_id


def resource():
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(1)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def sys_():
    """The interpreter starts itself."""
    import subprocess

    said = subprocess.check_output([sys.executable, "-c", "import ssl, sys; print(sys.prefix)"], timeout=20)
    assert said.decode().strip() == sys.prefix
