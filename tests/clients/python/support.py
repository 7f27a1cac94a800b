"""What the Python suites share: where the broker is, fresh names, and waiting with a limit."""

import os
import time
import uuid

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]

#: Writing systems, combining marks, right-to-left text, an emoji outside the basic plane, and a NUL.
UNICODE = "Grüße, Ἀθήνα, 東京, عربى, e\u0301, 🦀, \u0000 end"


def broker():
    """The address of the broker under test, `HOST:PORT`."""
    return os.environ["ANNALS_KAFKA"]


def amqp():
    """The address of the AMQP port under test, `HOST:PORT`."""
    return os.environ["ANNALS_AMQP"]


def fresh(prefix="topic"):
    """A name that no earlier run has used."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def eventually(check, within_s=20.0, every_s=0.1):
    """Calls `check` until it returns something true, and returns that. Fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {within_s} s"
        time.sleep(every_s)


def now_ms():
    """The wall clock in the unit of record timestamps."""
    return int(time.time() * 1000)
