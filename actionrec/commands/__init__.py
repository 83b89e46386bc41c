"""One module a command: its arguments, and what it does. Each imports what takes time when it runs, so that --help is quick."""
