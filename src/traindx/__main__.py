"""``python -m traindx``: the command line."""

from traindx.cli.app import main

if __name__ == "__main__":
    main()
