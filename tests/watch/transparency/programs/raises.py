"""an exception that nobody catches: the traceback, its causes and notes"""

from loop import trained


def inner() -> None:
    try:
        {}["spacing"]
    except KeyError as error:
        problem = ValueError("header is broken")
        problem.add_note("patient 7")
        raise problem from error


def outer() -> None:
    inner()


print(trained())
outer()
