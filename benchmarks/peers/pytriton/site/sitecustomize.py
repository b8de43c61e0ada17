"""Lets Triton's embedded Python run with a standard library newer than itself.

The library of 3.11.7 asks a lock for `_recursion_count`, which the C lock of the older interpreter
lacks; the lock that is written in Python has it.
"""

import threading

threading.RLock = threading._PyRLock
