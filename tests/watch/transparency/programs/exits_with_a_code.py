"""`sys.exit(7)` in the midst, with `finally` and `atexit`"""

import atexit
import sys

from loop import training

atexit.register(print, "atexit 1")
atexit.register(print, "atexit 2")
try:
    for step, _ in enumerate(training()):
        if step == 5:
            sys.exit(7)
finally:
    print("finally")
