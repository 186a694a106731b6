"""what is imported when the program starts, and what it sets before torch is there"""

import os
import sys

print(
    "torch" in sys.modules,
    "numpy" in sys.modules,
    "yaml" in sys.modules,
)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
import torch  # noqa: E402

print(
    torch.get_num_threads(),
    torch.__spec__.name,
    type(torch.__loader__).__name__,
    torch.__spec__.loader is torch.__loader__,
)
import json  # noqa: E402

from loop import trained  # noqa: E402

print(json.__spec__.name, type(json.__loader__).__name__, type(sys.modules["random"].__loader__).__name__)
print(trained())
