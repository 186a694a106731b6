"""binary output, closed and redirected streams"""

import os
import sys

from loop import trained

sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.flush()
os.write(1, b"\xff\xfe\x00raw")
with open("log.txt", "w") as log:
    kept, sys.stdout = sys.stdout, log
    print(trained())
    sys.stdout = kept
sys.stderr.write("on stderr\n")
print(trained(), flush=True)
sys.stdout.close()
