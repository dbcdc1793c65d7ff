"""Attacks on the supervisor, httpd and their sockets."""

import os
import socket
import subprocess

from calls import Refused, call, state


def attack_control_socket(target):
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(5)
        own.connect(target["control"])
    said = subprocess.run([target["wsgid"], "stop", target["spare"], "--socket", target["control"]],
                          capture_output=True, text=True, timeout=15)
    if said.returncode:
        raise Refused((said.stdout + said.stderr).strip())
    return said.stdout.strip()


def attack_request_socket(target):
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(target["requests"])
    return "connected"


def attack_log_of_httpd(target):
    with open(target["error_log"]) as file:
        return "read: " + file.readline().strip()


def attack_supervisor(target):
    call("ptrace", 0x4206, target["supervisor"], None, None)  # PTRACE_SEIZE
    return "attached"


def attack_ask(target):
    """As a client, by TCP."""
    return "process %d" % state(target)["pid"]
