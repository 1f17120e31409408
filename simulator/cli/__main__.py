"""`python -m simulator.cli`, for where scripts are not on the PATH."""

from simulator.cli import main

main()
