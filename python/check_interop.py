#!/usr/bin/env python3
"""Interoperation with the Python of the field: the client `model-runner-client`, unchanged, against this program.

The client follows the orchestrator and calls its models; sees them uploaded, changed, stopped, crashing; and reports
those that fail. It sets up, ticks and asks Python submissions behind the model host: the examples of this repository and
the trackers that ship inside the package crunch-synth; plain, with mutual TLS, and behind a gateway.

    check_interop.py --condor target/debug/condor --environments target/submission-environments

Exit status: 0 all agree, 1 something differs.
"""

import argparse
import asyncio
import sys
import time

from interop import builtin_models, deployments, gateway, mutual_tls, reports, submissions
from interop.expecting import Failed

CHECKS = {
    "builtin-models": builtin_models.check,
    "deployments": deployments.check,
    "reports": reports.check,
    "mutual-tls": mutual_tls.check,
    "gateway": gateway.check,
    "examples": submissions.check_examples,
    "shipped-trackers": submissions.check_shipped_trackers,
    "values": submissions.check_values,
}


async def run(name, options):
    start = time.monotonic()
    try:
        await CHECKS[name](options)
    except Failed as failure:
        raise Failed(f"{name}: {failure}") from None
    except Exception as error:
        raise Failed(f"{name}: {type(error).__name__}: {error}") from error
    print(f"{name} passed in {time.monotonic() - start:.1f} s", flush=True)


async def run_all(names, options):
    for name in names:
        await run(name, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condor", required=True, help="the program")
    parser.add_argument("--environments", required=True, help="where the submissions' environments are kept")
    parser.add_argument("--only", choices=CHECKS, action="append", help="a check to run alone; may be given repeatedly")
    options = parser.parse_args()
    try:
        asyncio.run(run_all(options.only or CHECKS, options))
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
