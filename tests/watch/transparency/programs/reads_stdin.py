"""the program reads its standard input"""

import sys

from loop import trained

print(input("a number? "), repr(sys.stdin.readline()), sys.stdin.isatty())
print(trained())
print(sys.stdin.read())
