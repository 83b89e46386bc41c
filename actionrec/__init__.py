"""Video action recognition, from a folder of class-named clips to an honest comparison of sequence models."""

import os

# Libraries read these when they are loaded: here they are set before any of them is.
# FFmpeg's complaints about damaged files go straight to stderr, once a packet; what is wrong is told by VideoError instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# Threads that wait for each other awake make training ten times slower where anything else wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
