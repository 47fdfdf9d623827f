"""Compare locked packages with the published vulnerabilities, and say plainly what could not be compared."""

from __future__ import annotations

import json
import subprocess
import sys

NOT_COMPARED = 75  # sysexits.h: a failure that may pass


def main(lock: str) -> int:
    """0: nothing is known against them; 1: something is; 75: some could not be looked up."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run([*command, "-r", lock, "-f", "json"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"NOT COMPARED: {lock} could not be looked up ({reason}); run this where the index is reached")
        return NOT_COMPARED
    for package in packages:
        for fault in package.get("vulns", ()):
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {fault['id']}, fixed in {fixed}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = sum(len(package.get("vulns", ())) for package in packages)
    print(f"{len(packages) - len(skipped)} packages of {lock} compared: {found} published vulnerabilities")
    if skipped:
        what = "none" if len(skipped) == len(packages) else f"{', '.join(skipped)} not"
        print(f"NOT COMPARED: {what} of these could be looked up; run this where the index knows vulnerabilities")
    return 1 if found else NOT_COMPARED if skipped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
