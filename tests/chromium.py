"""Chromium's program, and sizes of its window in pixels."""

import shutil

CHROMIUM = shutil.which("chromium")
PHONE, TABLET, DESK = {"width": 390, "height": 844}, {"width": 1024, "height": 768}, {"width": 1280, "height": 860}
