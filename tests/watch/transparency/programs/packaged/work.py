"""What the package does."""

from packaged.training import trained

NAME = __name__


def run() -> str:
    """Train."""
    return trained()
