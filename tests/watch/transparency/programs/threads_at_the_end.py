"""threads that outlive the main one, daemons, and exceptions in threads"""

import threading
import time

from loop import trained

over = threading.Event()  # the seeds are shared: what trains beside the main thread differs from run to run


def late() -> None:
    over.wait()
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
over.set()
