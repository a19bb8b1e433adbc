"""`python -m seqkit`: the same as the `seqkit` command, where another program has that name."""

from seqkit.cli.main import main

if __name__ == "__main__":
    main()
