"""`python -m actionrec`: the same as the command `actionrec`, with the code of the current folder."""

from actionrec.cli.main import main

if __name__ == "__main__":
    main(prog="python -m actionrec")
