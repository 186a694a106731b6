"""warnings are errors from the first line on"""

import warnings

warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="torch|numpy|importlib")

from loop import trained  # noqa: E402

print(trained())
warnings.warn("of mine")
