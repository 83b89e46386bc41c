"""Wait for processes to end."""

import time

import psutil


def ends(number, seconds=10.0):
    """Whether a process ends in time; one that does not is killed then."""
    try:
        process = psutil.Process(number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.02)
        process.kill()
    except psutil.NoSuchProcess:
        return True
    return False
