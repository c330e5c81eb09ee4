"""`python -m splade_sts`: see `splade_sts.cli`."""

from splade_sts.cli import main

main()
