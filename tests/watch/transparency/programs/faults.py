"""`faulthandler` of the program's own, a dump of its threads, and a limit on memory"""

import faulthandler
import resource
import sys

from loop import trained

print(faulthandler.is_enabled())
faulthandler.enable(open("faults.txt", "w"))
print(faulthandler.is_enabled(), resource.getrlimit(resource.RLIMIT_CORE))
print(trained())
faulthandler.disable()
print(sys.gettrace(), sys.getprofile(), faulthandler.is_enabled())
