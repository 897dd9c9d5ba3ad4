"""Set up before any test: a shell starts background jobs with ctrl-C ignored, and tests and their children need it."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
