"""What a script has to be called: whether WSGI can call it, and what else there is.
Loaded by `runtime.py` when a name of a script is looked up for the first time; an
object that passed is not looked at again. Calls nothing of the script's.
"""

import sys
import types

# CO_COROUTINE and CO_ASYNC_GENERATOR of a code object.
ASYNC = 0x80 | 0x200
# How many others are named.
SHOWN = 3
# What is no application, and found by its name.
FUNCTIONS = ("check_password", "get_realm_hash", "groups_for_user", "allow_access", "handle_request")

ASGI = ("mod_wsgid serves WSGI: name the framework's WSGI application (Django: django.core.wsgi.get_wsgi_application()), "
        "wrap this one (a2wsgi.ASGIMiddleware), or run it by an ASGI server behind ProxyPass")


def unusable(module, name):
    """Why what a script has under this name, if anything, cannot be called: words that
    follow the script's path. None if it can."""
    if name == "__dict__":
        return None
    try:
        found = getattr(module, name)
    except AttributeError:
        return " does not contain the callable `%s`; %s" % (name, others(module, name))
    if not callable(found):
        return ": `%s` cannot be called, it is of type %s; %s" % (name, type(found).__name__, others(module, name))
    kind = asynchronous(found)
    if kind is None:
        return None
    if kind == "ASGI":
        return ": `%s` is an ASGI application; %s" % (name, others(module, name, ASGI))
    return (": `%s` is a coroutine function (async def), which WSGI cannot call; define it without async, "
            "or if it is to be an ASGI application: %s" % (name, ASGI))


def others(module, name, otherwise="name it with WSGICallableObject; nothing else in the script looks like an application"):
    """What to do about a name that is missing or wrong: what is there is named."""
    if name in FUNCTIONS:
        return "the configuration asks for this function: define it"
    names = [other for other, value in vars(module).items()
             if other != name and not other.startswith("_") and is_application(module, value)]
    usable = [other for other in names if asynchronous(vars(module)[other]) is None]
    if usable:
        exist = " and ".join("`%s`" % other for other in usable[:SHOWN])
        return "%s exist%s: WSGICallableObject %s" % (exist, "" if len(usable) > 1 else "s", usable[0])
    if names and otherwise is not ASGI:
        return "`%s` exists, but is an ASGI application; %s" % (names[0], ASGI)
    return otherwise


def is_application(module, value):
    """Whether it is, as far as one can see: something that takes two arguments and was
    not imported as a part of something else."""
    if not callable(value) or type(value).__module__ == "typing":
        return False
    if isinstance(value, type):
        return value.__module__ == module.__name__ and (is_iterable(value) or asynchronous(value) is not None)
    if asynchronous(value) == "ASGI":
        return True
    code, bound = code_of(value)
    if code is None:
        return False
    most = code.co_argcount - bound
    least = most - len(defaults_of(value))
    names = code.co_varnames[bound:code.co_argcount]
    fits = least <= 2 and (most >= 2 or bool(code.co_flags & 0x04))
    if isinstance(value, types.FunctionType) and value.__module__ != module.__name__:
        # An application of the project's, or just a function that was imported.
        return fits and names[:1] in (("environ",), ("env",))
    return fits and code.co_kwonlyargcount == 0


def asynchronous(value):
    """`ASGI`, `async`, or None for what an ordinary call answers."""
    if isinstance(value, type):
        # Calling a class makes an object, which WSGI iterates.
        call = next((vars(base)["__call__"] for base in value.__mro__ if "__call__" in vars(base)), None)
        code = getattr(call, "__code__", None)
        return "ASGI" if code is not None and code.co_flags & ASYNC and not is_iterable(value) else None
    code, bound = code_of(value)
    if code is None:
        return None
    names = code.co_varnames[bound:code.co_argcount]
    if names == ("scope", "receive", "send"):
        return "ASGI"
    if not code.co_flags & ASYNC:
        return None
    return "async" if isinstance(value, types.FunctionType) and len(names) == 2 else "ASGI"


def is_iterable(made):
    return hasattr(made, "__iter__") or hasattr(made, "__getitem__")


def underlying(value):
    """The function that a call ends in, and how many arguments it has already got."""
    partial = getattr(sys.modules.get("functools"), "partial", ())
    bound = 0
    while True:
        if isinstance(value, types.MethodType):
            value, bound = value.__func__, bound + 1
        elif partial and isinstance(value, partial):
            value, bound = value.func, bound + len(value.args)
        elif isinstance(value, types.FunctionType) or isinstance(value, type):
            return value, bound
        else:
            call = getattr(type(value), "__call__", None)
            return (call, bound + 1) if isinstance(call, types.FunctionType) else (None, 0)


def code_of(value):
    function, bound = underlying(value)
    return getattr(function, "__code__", None), bound


def defaults_of(value):
    return getattr(underlying(value)[0], "__defaults__", None) or ()
