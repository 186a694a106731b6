"""The version, below everything, so that whoever writes it into a file need not import the package's face."""

from __future__ import annotations

__version__ = "0.1.0"
