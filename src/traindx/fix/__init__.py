"""From a finding to a minimal patch of the user's source: shown first, written only on request.

A patch changes the line that a finding names, or the one beside it, and leaves everything else of the file as it is,
byte by byte. Where the source does not say clearly what to change, there is no patch, and the remedy is shown.
"""

from traindx.fix.catalogue import patch_for
from traindx.fix.patch import Patch
from traindx.fix.report import Report, newest_report
from traindx.fix.writing import write

__all__ = ["Patch", "Report", "newest_report", "patch_for", "write"]
