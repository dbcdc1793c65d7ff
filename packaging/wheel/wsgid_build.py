"""Builds the wheel (PEP 517): runs cargo and packs what it made.

The wheel holds the program `wsgid`, the httpd module and the worker extension, and
no file under a name of another project; those are in `packaging/express`.
Nothing in it depends on the version of Python: the extension has the stable
ABI and is loaded by path. Without dependencies, so that `pip install .` needs
only cargo.
"""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sysconfig
import tarfile
import tempfile
import zipfile

NAME = "mod_wsgid"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# What cargo makes, and where it is installed below the prefix of an environment.
ARTIFACTS = (
    ("wsgid", "scripts/wsgid"),
    ("libmod_wsgid.so", "data/lib/wsgid/mod_wsgid.so"),
    ("libwsgid_worker.so", "data/lib/wsgid/wsgid_worker.so"),
)


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    return write_metadata(directory, _info_directory(), _metadata())


def build_wheel(directory, config_settings=None, metadata_directory=None):
    built = _cargo_build()
    name = "%s-%s-%s.whl" % (NAME, version(), _tag())
    data = "%s-%s.data" % (NAME, version())
    with Wheel(os.path.join(directory, name)) as wheel:
        for artifact, place in ARTIFACTS:
            wheel.add("%s/%s" % (data, place), _stripped(os.path.join(built, artifact)), executable=True)
        wheel.finish(_info_directory(), _metadata())
    return name


def build_sdist(directory, config_settings=None):
    base = "%s-%s" % (NAME, version())
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(os.path.join(directory, base + ".tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path in listed.decode().split("\0"):
            if path and os.path.isfile(os.path.join(ROOT, path)):
                archive.add(os.path.join(ROOT, path), base + "/" + path, recursive=False)
        text = _metadata()["METADATA"].encode()
        entry = tarfile.TarInfo(base + "/PKG-INFO")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return base + ".tar.gz"


def _stripped(path):
    # Line tables are for developers; without them a file is a quarter as large.
    # The names of functions stay, for backtraces.
    strip = shutil.which("strip")
    with tempfile.TemporaryDirectory() as directory:
        if strip is not None:
            bare = os.path.join(directory, "stripped")
            subprocess.run([strip, "--strip-debug", "-o", bare, path], check=True)
            path = bare
        with open(path, "rb") as stream:
            return stream.read()


def _cargo_build():
    """Builds the release; the directory that holds it."""
    built = os.environ.get("WSGID_ARTIFACTS")
    if built:
        # Built before, for instance in another image.
        return built
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit("cargo was not found: install a Rust toolchain, or install a wheel that is already built")
    command = [cargo, "build", "--release", "--locked", "-p", "wsgid", "-p", "mod_wsgid", "-p", "wsgid-worker"]
    subprocess.run(command, cwd=ROOT, check=True)
    facts = subprocess.run([cargo, "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE).stdout
    return os.path.join(json.loads(facts)["target_directory"], "release")


def version():
    with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as stream:
        text = stream.read()
    section = text.split("[workspace.package]", 1)[1].split("\n[", 1)[0]
    return re.search(r'^version = "([^"]+)"', section, re.MULTILINE).group(1)


def _tag():
    # WSGID_PLATFORM is for releases that were built in a manylinux image.
    platform = os.environ.get("WSGID_PLATFORM") or sysconfig.get_platform()
    return "py3-none-" + re.sub(r"[^A-Za-z0-9_]", "_", platform)


def _info_directory():
    return "%s-%s.dist-info" % (NAME, version())


def _metadata():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as stream:
        readme = stream.read()
    head = [
        "Metadata-Version: 2.1",
        "Name: " + NAME,
        "Version: " + version(),
        "Summary: Runs Python WSGI applications behind Apache httpd, each site as its own user with its own Python",
        "License: Apache-2.0",
        "Requires-Python: >=3.9",
        "Provides-Extra: express",
        "Requires-Dist: mod_wsgid-express==%s; extra == 'express'" % version(),
        "Description-Content-Type: text/markdown",
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: wsgid_build", "Root-Is-Purelib: false", "Tag: " + _tag()]
    return {"METADATA": "\n".join(head) + "\n\n" + readme, "WHEEL": "\n".join(wheel) + "\n"}


def write_metadata(directory, info, metadata):
    """The directory of a wheel's metadata, and its name."""
    os.makedirs(os.path.join(directory, info))
    for name, text in metadata.items():
        with open(os.path.join(directory, info, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    return info


class Wheel:
    """A zip file with the hashes of what is in it."""

    def __init__(self, path):
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._record = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._zip.close()

    def add(self, path, data, executable=False):
        self._write(path, data, executable)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self._record.append("%s,sha256=%s,%d" % (path, digest, len(data)))

    def finish(self, info, metadata):
        for name, text in metadata.items():
            self.add("%s/%s" % (info, name), text.encode())
        path = info + "/RECORD"
        self._record.append(path + ",,")
        self._write(path, ("\n".join(self._record) + "\n").encode(), False)

    def _write(self, path, data, executable):
        # A fixed date, so that the same input gives the same wheel.
        entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
        self._zip.writestr(entry, data)
