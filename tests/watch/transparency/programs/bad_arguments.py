"""`argparse` ends the program with its usage and code 2"""

import argparse

from loop import trained

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
print(trained(4))
parser.parse_args(["--nonsense"])
