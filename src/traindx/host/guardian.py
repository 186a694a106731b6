"""``python -m traindx.host.guardian NOTE``: outlives a parent that is killed, and cleans up after it at once.

It waits for the end of its standard input. The parent says so when it is done with a run; where the input ends without
a word, the parent is gone: the processes of the run are ended and its files are put back.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """Wait, and clean up if need be."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read():
        return
    from traindx.host.restore import alive_note, recover

    note = Path(sys.argv[1])
    end = time.monotonic() + 10.0
    while alive_note(note) and time.monotonic() < end:
        time.sleep(0.05)  # its input ended, and it is just about to
    for line in recover(note.parent.parent.parent).lines():
        print(f"traindx | after a run that was killed: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
