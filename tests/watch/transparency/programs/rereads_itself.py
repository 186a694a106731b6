"""a program that starts itself again as a process, and other programs"""

import subprocess
import sys

from loop import trained

if len(sys.argv) > 1 and sys.argv[1] == "again":
    print("again", trained(4, 1))
    sys.exit(4)
print(trained())
done = subprocess.run([sys.executable, __file__, "again"], capture_output=True, text=True, check=False)
print(done.returncode, done.stdout.strip(), done.stderr.strip())
print(subprocess.run("echo shell; exit 3", shell=True, capture_output=True, text=True, check=False))
