"""The real sidecar under cProfile: `python -m tests.bench.profiled_sidecar` writes `sidecar.prof` where it runs."""

import cProfile
import importlib
import sys

from sidecar.__main__ import main

if __name__ == "__main__":
    importlib.import_module("sidecar.worker")  # what the sidecar imports late: not a part of the profile
    profile = cProfile.Profile()
    try:
        code = profile.runcall(main)
    finally:
        profile.dump_stats("sidecar.prof")
    sys.exit(code)
