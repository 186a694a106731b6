"""a package that is run by `-m`, with relative imports"""

import sys

from . import work

print(__name__, __package__, __spec__.name, sys.argv[1:], work.NAME)
print(work.run())
