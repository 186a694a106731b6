"""a module of the program's with a syntax error"""

import pathlib
import sys

from loop import trained

print(trained())
pathlib.Path("broken_module.py").write_text("def f(:\n    pass\n")
sys.path.insert(0, ".")
sys.dont_write_bytecode = True
import broken_module  # noqa: E402, F401
