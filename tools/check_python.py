"""Says what is missing on this machine before anything is installed. Runs on any Python 3."""

import sys

problems = []
if sys.version_info < (3, 11):
    problems.append(
        "Python 3.11 or later is needed, and this is %d.%d: run make PYTHON=python3.11" % sys.version_info[:2]
    )
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    problems.append("Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv")
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
