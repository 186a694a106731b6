"""`sys.excepthook` of the program's own"""

import sys

from loop import trained


def hook(kind: type, error: BaseException, trace: object) -> None:
    print("my hook", kind.__name__, error)


sys.excepthook = hook
print(trained())
raise RuntimeError("for the hook")
