"""a program that kills itself by SIGTERM"""

import os
import signal
import sys

from loop import training

for step, _ in enumerate(training()):
    if step == 4:
        print("now")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGTERM)
