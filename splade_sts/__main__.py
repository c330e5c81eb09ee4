"""`python -m splade_sts`: see `splade_sts.cli`."""

from splade_sts.cli import main

if __name__ == "__main__":
    main()
