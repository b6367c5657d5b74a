"""Run as `python -m longshort.cli`."""

from longshort.cli import main

main()
