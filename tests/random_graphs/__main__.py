"""Run many random models on both providers.

    python -m tests.random_graphs --first 0 --count 10000

prints every model on which FuriosaProvider and CPUExecutionProvider differ or one of them fails.
"""

import argparse
import sys
import time

import furiosa_ep
from tests.random_graphs import compare


def main() -> int:
    """Run the models that the command line asks for; returns 1 if any differed or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--signed", choices=("no", "yes", "mixed"), default="no")
    arguments = parser.parse_args()
    signed = {"no": False, "yes": True, "mixed": None}[arguments.signed]
    furiosa_ep.register()
    differing = 0
    start = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.count):
        found = compare(seed, signed=signed)
        if found:
            differing += 1
            print(found, flush=True)
    seconds = time.monotonic() - start
    print(f"{arguments.count} models, {differing} differ, {seconds:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
