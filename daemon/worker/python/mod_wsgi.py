"""The module `mod_wsgi` as applications know it.

Filled in by runtime.py: version, process_group, application_group,
maximum_processes, threads_per_process.
"""

import logging as _logging


class RequestTimeout(BaseException):
    """Raised in a thread whose request has run for too long."""


class FileWrapper:
    """PEP 3333 `wsgi.file_wrapper`: blocks of a file-like object."""

    def __init__(self, filelike, blksize=8192):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.blksize)
        if block:
            return block
        raise StopIteration
