"""Results as text, as data and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.run import STATUSES, Result


def summary(results: Sequence[Result]) -> str:
    """How many cases have which status."""
    counts = Counter(result.status for result in results)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])


def explained(result: Result) -> str:
    """A result with its rule, the expected output and the given one."""
    lines = [f"{result.status}: {result.case.name}", f"  {result.case.says}"]
    if result.outcome is not None:
        lines.append(f"  expected: {' · '.join(result.case.expect)}")
        lines += [f"        or: {' · '.join(each)}" for each in result.case.accept]
        lines.append(f"     given: {' · '.join(result.outcome.shown)}")
        lines += [f"   it says: {result.outcome.reason}"] if result.outcome.reason else []
    return "\n".join(lines)


def data(versions: Mapping[str, str], results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """The results as data."""
    return {
        host: {
            "version": versions[host],
            "cases": {
                result.case.name: {
                    "status": result.status,
                    **({"output": result.outcome.shown} if result.outcome else {}),
                    **({"missing": result.missing} if result.missing else {}),
                    "seconds": round(result.seconds, 3),
                }
                for result in each
            },
        }
        for host, each in results.items()
    }
