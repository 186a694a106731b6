"""names, paths and arguments, as the program sees them"""

import inspect
import os
import sys
import warnings

from loop import trained

import __main__

print(trained())
here = os.path.dirname(os.path.abspath(__file__))
print(sys.argv[1:], os.path.basename(sys.argv[0]), __name__, os.path.basename(__file__), __spec__, __package__)
print(
    sys.path[0] == here,
    __main__.__file__ == __file__,
    sys.modules["__main__"] is __main__,
    os.getcwd() == os.environ["HERE"],
)
print(sorted(vars(__main__))[:12], type(__loader__).__name__, __doc__)
print(inspect.getsource(__main__).splitlines()[0], len(warnings.filters), sys.flags.optimize, sys.dont_write_bytecode)
print(
    sys.getrecursionlimit(), sys.getswitchinterval(), sys.stdout.encoding, sys.stdout.line_buffering, sys.stdin.encoding
)
