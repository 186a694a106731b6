"""`os._exit(5)` in the midst"""

import os
import sys

from loop import training

for step, _ in enumerate(training()):
    print(step)
    if step == 4:
        sys.stdout.flush()
        os._exit(5)
