"""``make audit``: known vulnerabilities of the pinned dependencies, by pip-audit; what could not be asked is no pass.

Exit status: 0 no known vulnerability in any package, 1 there are some, 3 all or part could not be audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).parent.parent / "constraints.txt"


def verdict(report: str, complaint: str) -> tuple[int, str]:
    """Exit status and what to print, of the report (JSON) and the complaints of pip-audit."""
    try:
        rows = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaint.strip().splitlines() or ["no answer"])[-1]
        return 3, f"NOT AUDITED: pip-audit could not reach its service, or failed ({last[:300]})"
    found = [
        f"{row['name']} {row['version']}: {fault['id']} (fixed in {', '.join(fault['fix_versions']) or 'no version'})"
        for row in rows
        for fault in row.get("vulns", [])
    ]
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    asked = len(rows) - len(skipped)
    lines = [*found, f"{asked} packages audited, {len(found)} known vulnerabilities"]
    if skipped or not rows:
        lines.append(
            f"NOT AUDITED: the service knew nothing of {len(skipped)} packages ({', '.join(skipped[:5])} ...); run it "
            "where https://pypi.org can be reached"
        )
    return 1 if found else 3 if skipped or not rows else 0, "\n".join(lines)


def main() -> int:
    command = ["-m", "pip_audit", "--requirement", str(PINNED), "--no-deps", "--disable-pip", "--format", "json"]
    ran = subprocess.run([sys.executable, *command, "--progress-spinner", "off"], capture_output=True, text=True)
    status, text = verdict(ran.stdout, ran.stderr)
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
