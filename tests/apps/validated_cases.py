"""The applications of the cases, each watched by the standard library's referee
for PEP 3333; the first part of the path chooses one.
"""

from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import body_cases
import head_cases
import hello
import probe
import stream_cases

WATCHED = {
    "body": validator(body_cases.application),
    "head": validator(head_cases.application),
    "stream": validator(stream_cases.application),
    "probe": validator(probe.application),
    "hello": validator(hello.application),
}


def application(environ, start_response):
    return WATCHED[shift_path_info(environ)](environ, start_response)
