"""What a site expects of the system without naming it."""

import fcntl
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time

import settings


def names():
    """By the name server of /etc/resolv.conf, wherever that leads, and by /etc/hosts."""
    assert os.path.islink("/etc/resolv.conf")
    assert socket.gethostbyname("database.test") == "192.0.2.7"
    assert socket.gethostbyname("localhost") == "127.0.0.1"


def accounts():
    """Also where sssd keeps what it knows of them in a file that others map."""
    import pwd

    assert pwd.getpwuid(0).pw_name == "root"
    with open("/var/lib/sss/mc/passwd") as file:
        assert file.read() == "users\n"


def certificates():
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    assert context.cert_store_stats()["x509_ca"] > 10
    # One by one they are links to /usr/share/ca-certificates.
    for name in os.listdir("/etc/ssl/certs"):
        if name.endswith(".pem"):
            with open(os.path.join("/etc/ssl/certs", name)) as file:
                assert file.read(1)


def times():
    import datetime
    import zoneinfo

    with open("/etc/localtime", "rb") as file:
        assert file.read(4) == b"TZif"
    zone = zoneinfo.ZoneInfo.no_cache("Asia/Tokyo")
    assert datetime.datetime(2024, 7, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=9)


def locales():
    import locale

    known = subprocess.check_output(["locale", "-a"], timeout=20).decode().split()
    assert "C.utf8" in known, known
    before = locale.setlocale(locale.LC_ALL)
    for name in known:
        assert locale.setlocale(locale.LC_ALL, name)
    locale.setlocale(locale.LC_ALL, before)


def fonts():
    assert any(name.endswith(".ttf") for _, _, all in os.walk("/usr/share/fonts") for name in all)
    if shutil.which("fc-list"):
        assert subprocess.check_output(["fc-list"], timeout=60)


def interpreter():
    """It stands where it was said to, with all that belongs to it, and starts itself."""
    import _sqlite3
    import encodings

    assert sys.prefix == settings.value("prefix"), sys.prefix
    assert sys.base_prefix == settings.value("base_prefix"), sys.base_prefix
    assert encodings.__file__.startswith(sys.base_prefix)
    said = subprocess.check_output([sys.executable, "-c", "import sys, ssl; print(sys.prefix)"], timeout=20)
    assert said.decode().strip() == sys.prefix


def services():
    """The sockets of the system's services can be connected to."""
    for kind, path in settings.value("services"):
        with socket.socket(socket.AF_UNIX, getattr(socket, kind)) as client:
            try:
                client.connect(path)
            except OSError as error:
                raise AssertionError(path) from error


def workers():
    """All workers of the group have one /dev/shm, one /tmp and one /var/tmp."""
    for directory in ["/dev/shm", "/tmp", "/var/tmp"]:
        with open(os.path.join(directory, "workers-" + settings.value("token")), "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{os.getpid()}\n")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_UN)
            deadline = time.monotonic() + 3
            while file.seek(0) or len(set(file.read().split())) < 2:
                assert time.monotonic() < deadline, directory
                time.sleep(0.01)


def mail():
    """A program with the group of the spool puts a letter there."""
    path = os.path.join(settings.value("spool"), f"letter-{os.getpid()}-{time.monotonic_ns()}")
    done = subprocess.run(
        ["/usr/local/sbin/sendmail", path], input=b"Subject: test\n", capture_output=True, timeout=20
    )
    assert done.returncode == 0, done


def neighbour():
    """What belongs to nobody here is not there."""
    with open("/home/bob/secret") as file:
        file.read()
