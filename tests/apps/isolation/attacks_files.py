"""Attacks on what another site has in files, and on the files of the machine."""

import ctypes
import os
import resource
import subprocess
import tempfile

from calls import Lacking, Refused, changed, read, state, with_secret


def attack_script(target):
    return read(target["home"] + "/wsgi.py", target)


def attack_settings(target):
    return read(target["home"] + "/settings.py", target)


def attack_env_file(target):
    return read(target["home"] + "/site.env", target)


def attack_env_file_in_etc(target):
    return read(target["etc"], target)


def attack_log(target):
    return read(target["log"], target)


def attack_elsewhere(target):
    """A directory of scripts that is named apart from the home."""
    return read(target["elsewhere"] + "/settings.py", target)


def attack_in_home(target):
    return read(target["in_home"] + "/profile", target)


def attack_in_var_www(target):
    return read(target["in_var_www"] + "/settings.py", target)


def attack_unnamed_in_opt(target):
    return read(target["unnamed"][0] + "/settings.py", target)


def attack_unnamed_in_var(target):
    return read(target["unnamed"][1] + "/settings.py", target)


def attack_list(target):
    with_secret(" ".join(os.listdir(target["elsewhere"])), target)
    return "names in the other's directory"


def attack_link_to(target):
    """A link of its own that leads there."""
    return through(target, os.symlink, target["home"])


def attack_hard_link(target):
    return through(target, os.link, target["home"] + "/settings.py")


def through(target, make, place):
    own = os.path.join(os.getcwd(), "made-" + target["name"])
    try:
        os.unlink(own)
    except FileNotFoundError:
        pass
    make(place, own)
    try:
        return read(own + "/settings.py" if os.path.isdir(own) else own, target)
    finally:
        os.unlink(own)


def attack_write(target):
    with open(target["home"] + "/planted", "w") as file:
        file.write("planted")
    try:
        if "planted" not in state(target)["files"]:
            raise Refused("the other does not see it")
        return "the other sees a new file in its home"
    finally:
        os.unlink(target["home"] + "/planted")


def attack_change(target):
    path = target["home"] + "/settings.py"
    with open(path) as file:
        before = file.read()
    with open(path, "a") as file:
        file.write("# changed\n")
    try:
        return changed(target, "settings", before + "# changed\n")
    finally:
        with open(path, "w") as file:
            file.write(before)


def plant(target, directory):
    """A file with a name that the other will read."""
    path = "%s/%s-cache" % (directory, target["planted"])
    with open(path, "w") as file:
        file.write("planted")
    try:
        return changed(target, "cache", "planted", read=path)
    finally:
        os.unlink(path)


def attack_plant_in_tmp(target):
    return plant(target, "/tmp")


def attack_plant_in_var_tmp(target):
    return plant(target, "/var/tmp")


def attack_plant_in_shm(target):
    return plant(target, "/dev/shm")


def attack_temporary_file(target):
    return read(target["places"]["temporary"], target)


def write_below(directory):
    path = directory + "/planted"
    with open(path, "w") as file:
        file.write("planted")
    os.unlink(path)
    return "written: " + path


def attack_write_etc(target):
    return write_below(target["own_in_etc"])


def attack_write_usr(target):
    return write_below(target["own_in_usr"])


def attack_write_var(target):
    return write_below(target["own_in_var"])


def attack_device(target):
    """A device node that anybody may open."""
    os.close(os.open(target["device"], os.O_RDWR))
    return "opened: " + target["device"]


def attack_setuid(target):
    """A copy of `id` that is root's and setuid."""
    try:
        said = subprocess.run([target["setuid"], "-u"], capture_output=True, text=True).stdout.strip()
    except OSError as error:
        raise Refused("it is not there: %s" % error)
    if said != "0":
        raise Refused("it runs as %s" % said)
    return "it runs as 0"


def attack_core(target):
    """A core file of its own, which everything in memory lies in."""
    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    if pattern[:1] in ("|", "/"):
        raise Lacking("core files go to " + pattern)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    directory = tempfile.mkdtemp(dir=os.getcwd())
    child = os.fork()
    if child == 0:
        os.chdir(directory)
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))
        ctypes.string_at(0)
    os.waitpid(child, 0)
    found = os.listdir(directory)
    for name in found:
        os.unlink(os.path.join(directory, name))
    os.rmdir(directory)
    if not found:
        raise Refused("no core file; RLIMIT_CORE is %d" % most)
    return "written: " + found[0]


def attack_exchange(target):
    """Puts a link in the place of something of its own, or another text into a file of its own."""
    path = target["path"]
    os.rename(path, path + ".old")
    if "text" in target:
        with open(path, "w") as file:
            file.write(target["text"])
    else:
        os.symlink(target["leads_to"], path)
    return "exchanged: " + path


def attack_read(target):
    return read(target["reads"], target)
