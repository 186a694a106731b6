"""threads that outlive the main one, daemons, and exceptions in threads"""

import threading
import time

from loop import trained


def late() -> None:
    time.sleep(0.3)
    print("late", trained(4))


def broken() -> None:
    raise ValueError("in a thread")


threading.Thread(target=late).start()
threading.Thread(target=lambda: time.sleep(100), daemon=True).start()
print(trained())
other = threading.Thread(target=broken, name="mine")
other.start()
other.join()
print("end of main")
