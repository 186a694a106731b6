"""signal handlers: what is set when it starts, its own for SIGUSR1, SIGTERM, SIGINT and SIGALRM, and a timer"""

import os
import signal
import time

from loop import digest, training

names = ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGALRM"]
print([str(signal.getsignal(getattr(signal, name))) for name in names if name != "SIGINT"])
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
seen: list[str] = []


def remember(number: int, frame: object) -> None:
    seen.append(signal.Signals(number).name)


for name in ("SIGUSR1", "SIGTERM", "SIGALRM", "SIGINT", "SIGHUP"):
    signal.signal(getattr(signal, name), remember)
for step, model in enumerate(training(12)):
    if step in (1, 7):
        for name in ("SIGUSR1", "SIGTERM", "SIGINT", "SIGHUP"):
            os.kill(os.getpid(), getattr(signal, name))
    if step == 8:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(0.2)
print(seen, signal.getsignal(signal.SIGUSR1) is remember, signal.pthread_sigmask(signal.SIG_BLOCK, []))
print(digest(model))
