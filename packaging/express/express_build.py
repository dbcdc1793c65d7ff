"""Builds the wheel `mod_wsgid-express` (PEP 517): the names of mod_wsgi-express for
programs, settings of Django and command lines that use them. It is no part of the
wheel `mod_wsgid`, because PyPI's mod_wsgi has these names too.

Of files that PyPI's mod_wsgi has, this wheel has one, `bin/mod_wsgi-express`. The
package lies in a directory of its own, which stands behind the other packages on
`sys.path`: where both are installed, PyPI's is the one that is imported.
"""

import glob
import os
import sys
import sysconfig

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wheel"))

from wsgid_build import Wheel, version, write_metadata  # noqa: E402

NAME = "mod_wsgid_express"

# The command, beside the program that it runs.
ALIAS = """#!/bin/sh
exec "$(dirname -- "$(readlink -f -- "$0")")/wsgid" "$@"
"""


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    _refuse_beside_mod_wsgi()
    return write_metadata(directory, _info_directory(), _metadata())


def build_wheel(directory, config_settings=None, metadata_directory=None):
    _refuse_beside_mod_wsgi()
    name = "%s-%s-py3-none-any.whl" % (NAME, version())
    with Wheel(os.path.join(directory, name)) as wheel:
        wheel.add("%s-%s.data/scripts/mod_wsgi-express" % (NAME, version()), ALIAS.encode(), executable=True)
        # Read by Python at its start: one more directory at the end of sys.path.
        wheel.add(NAME + ".pth", (NAME + "\n").encode())
        for path in _package_files():
            with open(os.path.join(HERE, path), "rb") as stream:
                wheel.add(path, stream.read())
        wheel.finish(_info_directory(), _metadata())
    return name


def _refuse_beside_mod_wsgi():
    """pip would replace the command of PyPI's mod_wsgi without a word, and remove ours
    with that package."""
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        if glob.glob(os.path.join(place, "mod_wsgi-*.dist-info")):
            raise SystemExit(
                "mod_wsgi is installed in `%s` and has the command mod_wsgi-express: "
                "`pip uninstall mod_wsgi` first, then install mod_wsgid-express" % place
            )


def _info_directory():
    return "%s-%s.dist-info" % (NAME, version())


def _metadata():
    head = [
        "Metadata-Version: 2.1",
        "Name: mod_wsgid-express",
        "Version: " + version(),
        "Summary: The names of mod_wsgi-express and of its Python package, for mod_wsgid",
        "License: Apache-2.0",
        "Requires-Python: >=3.9",
        "Requires-Dist: mod_wsgid==" + version(),
    ]
    wheel = ["Wheel-Version: 1.0", "Generator: express_build", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    return {"METADATA": "\n".join(head) + "\n", "WHEEL": "\n".join(wheel) + "\n"}


def _package_files():
    for directory, _, names in sorted(os.walk(os.path.join(HERE, NAME))):
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(directory, name), HERE)
