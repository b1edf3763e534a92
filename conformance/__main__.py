"""The command: `python -m conformance --host NAME[:LABEL]=PATH [CASE...]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from conformance import report
from conformance.hosts import NAMES, driver_for, is_driver
from conformance.hosts.driver import Driver, NoVersionError
from conformance.run import Result, run_all
from conformance.suite import all_cases, choose


def main(arguments: list[str] | None = None) -> int:
    """Run the suite. The exit code is 1 if a host fails, crashes or hangs in a case, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description="Run the conformance suite of wasi-nn.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="core/get_output/exact, core/get_output, 'core/*/u8*'")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME[:LABEL]=PATH",
        help="a host and its command, and a label if it is given twice; NAME is the file of a driver, or one of "
        + ", ".join(NAMES),
    )
    parser.add_argument("--list", action="store_true", help="list the cases, with their rules")
    parser.add_argument("--encoding", action="append", help="use only this encoding; may be given several times")
    parser.add_argument("--jobs", type=int, default=2, help="how many guests to run at a time (2)")
    parser.add_argument("--timeout", type=float, default=60, help="the seconds that a guest may take (60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the results as a page")
    parser.add_argument("--note", default="", metavar="TEXT", help="a sentence on the versions for the page")
    options = parser.parse_args(arguments)
    cases = list(choose(all_cases().values(), options.cases))
    if not cases:
        parser.error(f"no case is named {' or '.join(options.cases)}")
    if options.list:
        for case in cases:
            print(f"{case.name}: {case.says} [{', '.join(case.source)}]")
        return 0
    if not options.host:
        parser.error("--host NAME=PATH is missing")
    hosts = _hosts(parser, options.host, options.encoding)
    versions = {label: _version(parser, label, host, options.timeout) for label, host in hosts.items()}
    results: dict[str, list[Result]] = {}
    for label, host in hosts.items():
        print(f"{versions[label]}: {len(cases)} cases", flush=True)
        started = time.monotonic()
        results[label] = run_all(cases, host, jobs=options.jobs, timeout=options.timeout, done=_show)
        print(report.summary(results[label], time.monotonic() - started), flush=True)
    if options.json:
        options.json.write_text(
            json.dumps(report.data(versions, results), indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    if options.page:
        options.page.write_text(report.page(versions, results, options.page, options.note), "utf-8")
    return int(any(result.bad for each in results.values() for result in each))


def _hosts(parser: argparse.ArgumentParser, given: Sequence[str], encodings: Sequence[str] | None) -> dict[str, Driver]:
    """The drivers of the hosts that are given, by their names and labels."""
    hosts: dict[str, Driver] = {}
    for each in given:
        label, _, path = each.partition("=")
        name, colon, of_its_own = label.partition(":")
        if not is_driver(name) or not path or (colon and not of_its_own):
            parser.error(
                f"--host {each}: write NAME=PATH or NAME:LABEL=PATH; NAME is one of {', '.join(NAMES)}, or the file of "
                "a driver, such as ./myhost.py"
            )
        if label in hosts:
            parser.error(
                f"--host {label} is given twice: write --host {name}:LABEL=PATH, such as --host {name}:old={path}"
            )
        host = driver_for(name, path)
        if encodings:
            host.encodings = [encoding for encoding in encodings if encoding in host.encodings]
        hosts[label] = host
    return hosts


def _version(parser: argparse.ArgumentParser, label: str, host: Driver, timeout: float) -> str:
    """The version of a host. One that hangs or crashes when it is asked has its path and the reason instead."""
    try:
        return host.version(timeout)
    except NoVersionError as error:
        return f"{host.path} ({error})"
    except OSError as error:
        parser.error(f"--host {label}: {error}")


def _show(result: Result) -> None:
    if result.bad:
        print(report.explained(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
