"""Read a model verdict (JSON) on stdin; succeed only if the gate failed and an overfitting measurement is among why.

    assay gate model --config examples/spam/overfit.yaml --format json | python examples/spam/blames_overfitting.py 1

The argument is the exit code that `assay gate model` gave. `make demo-overfit` ends with this.
"""

import json
import sys
from typing import Any


def objection(exit_code: int, verdict: dict[str, Any]) -> str | None:
    """What keeps this verdict from being the expected one, or None."""
    if exit_code != 1 or verdict["outcome"] != "fail":
        return f"the gate should fail with exit 1; it exited {exit_code} with outcome {verdict['outcome']!r}"
    failed = [check["name"] for check in verdict["checks"] if check["outcome"] == "fail"]
    if not any(name.startswith("overfitting:") for name in failed):
        return f"the gate failed, but not for overfitting: {', '.join(failed)}"
    return None


def main() -> None:
    """Judge the verdict on stdin."""
    verdict = json.load(sys.stdin)
    wrong = objection(int(sys.argv[1]), verdict)
    if wrong:
        raise SystemExit(f"not as expected: {wrong}")
    for check in verdict["checks"]:
        if check["outcome"] == "fail":
            print(f"as expected, the gate failed on {check['name']}: {check['message']}")


if __name__ == "__main__":
    main()
