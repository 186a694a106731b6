"""a program whose training is a test of `unittest`, profiled by `cProfile`"""

import cProfile
import io
import unittest

from loop import trained


class Training(unittest.TestCase):
    """Trains."""

    def test_training(self) -> None:
        profile = cProfile.Profile()
        print(profile.runcall(trained))
        assert profile.getstats()

    def test_that_fails(self) -> None:
        assert trained(4) == "other"


if __name__ == "__main__":
    text = io.StringIO()
    done = unittest.main(argv=["program"], exit=False, testRunner=unittest.TextTestRunner(stream=text))
    print(done.result, text.getvalue().splitlines()[:2])
    raise SystemExit(len(done.result.failures) + 1)
