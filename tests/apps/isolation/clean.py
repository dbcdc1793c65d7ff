"""Removes the queues and shared memory that a victim has left: `clean.py KEY QUEUE`."""

import sys

import calls

KEY, QUEUE = int(sys.argv[1]), sys.argv[2]
REMOVE = 0  # IPC_RMID


def remove(step):
    try:
        step()
    except (OSError, calls.Lacking):
        pass  # It was not made, or in a name space of its own.


remove(lambda: calls.libc("shmctl", calls.libc("shmget", KEY, 0, 0), REMOVE, None))
remove(lambda: calls.libc("msgctl", calls.libc("msgget", KEY, 0), REMOVE, None))
remove(lambda: calls.libc("semctl", calls.libc("semget", KEY, 0, 0), 0, REMOVE))
remove(lambda: calls.call("mq_unlink", QUEUE.encode()))
