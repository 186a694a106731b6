"""`sys.exit("message")`"""

import sys

from loop import trained

print(trained())
sys.exit("no data in folder\x1b[31m red")
