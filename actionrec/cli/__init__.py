"""Command line: one module a command.

Each module imports slow libraries only when its command runs, so that `--help` is fast.
"""
