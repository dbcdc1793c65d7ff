# Passed to the site's python with -c by `wsgid worker-exec`. It loads the
# extension from descriptor 4, which the supervisor opened, so that the site's
# user needs no access to the directory it is installed in.
import os, sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
try:
    if "t" in sys.abiflags:
        raise ImportError("%s is a free-threaded build of Python, which the worker extension cannot be loaded into: "
                          "name another build with python-home= (or WSGIPythonHome)" % sys.executable)
    path = "/proc/self/fd/4"
    spec = spec_from_file_location("wsgid_worker", path, loader=ExtensionFileLoader("wsgid_worker", path))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    os.close(4)
    module.run(3)
except BaseException:
    import traceback
    print("wsgid: python %s could not become a worker" % sys.version.split()[0], file=sys.stderr)
    traceback.print_exc()
    sys.stderr.flush()
os._exit(120)
