"""What is known against our code and against what it builds on: bandit over the source, pip-audit over the lock file.

Exit code 1 for a finding that is not explained here, or an explanation without its finding. Where no service that knows
of vulnerabilities can be reached, that half is NOT CHECKED, and said to be; with `--must-reach` that is a failure too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("dataset/openaq_pipeline")

EXPLAINED: dict[tuple[str, str], tuple[int, str]] = {
    ("cli/validate_command.py", "B311"): (1, "draws a sample of rows, no secret"),
    ("daemon/child.py", "B404"): (1, "a run has a process of its own (docs/decisions/0010)"),
    ("daemon/child.py", "B603"): (1, "no shell; our own program, with flags that were checked"),
    ("monitoring/channels/slack.py", "B105"): (1, "a sentence about an invalid token"),
    ("openaq/archive_rows.py", "B608"): (3, "put together of constants of that module"),
    ("openaq/budget.py", "B608"): (3, "two names of tables that stand in that module; values are bound"),
    ("reading/query.py", "B608"): (1, "settings of DuckDB, whose values are quoted there"),
    ("reading/views.py", "B608"): (5, "names and paths are quoted there, and none comes from the network"),
    ("web/wording.py", "B704"): (1, "a text of our own, and escaped"),
}
"""What bandit finds and we have looked at: by file and rule how often, and why it is none."""

IGNORED: dict[str, str] = {}
"""Vulnerabilities of what we build on that do not concern us, by their id, and why."""

SERVICES = ("pypi", "osv")
"""Where pip-audit asks, the second only for want of the first."""


class Finding(NamedTuple):
    """One thing found, in words."""

    what: str


class Audited(NamedTuple):
    """What one service knew: how many packages it looked at, which it could not, and what it has against them."""

    checked: int
    unknown: tuple[str, ...]
    findings: tuple[Finding, ...]


def main(arguments: list[str] | None = None) -> int:
    """Check both and say what was found; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--must-reach", action="store_true", help="fail where the packages could not be checked")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock", help="the packages to look at")
    options = parser.parse_args(arguments)
    found = [*unexplained(bandit())]
    print(f"bandit: {sum(times for times, _ in EXPLAINED.values())} findings are explained, {len(found)} are not")
    audited = audit(options.lock)
    found += audited.findings
    for finding in found:
        print(f"FOUND: {finding.what}")
    print(f"pip-audit: {audited.checked} packages checked, {len(audited.findings)} known vulnerabilities")
    if audited.unknown:
        print(
            f"NOT CHECKED for known vulnerabilities: {len(audited.unknown)} of {audited.checked + len(audited.unknown)}"
        )
        print(
            f"packages ({', '.join(audited.unknown[:5])} ...): no service that knows of them can be reached from here."
        )
    return 1 if found or (audited.unknown and options.must_reach) else 0


def bandit() -> list[tuple[str, str, str]]:
    """Return what bandit finds: file within the package, rule, and where and what in words."""
    done = _run("bandit", "--quiet", "--recursive", "--format", "json", str(ROOT / "dataset"))
    report = _json("bandit", done)
    if report["errors"]:
        raise SystemExit(f"bandit could not read everything: {report['errors']}")
    return [
        (
            each["filename"].removeprefix(f"{ROOT / PACKAGE}/"),
            each["test_id"],
            f"{each['filename']}:{each['line_number']}: {each['test_id']} {each['issue_text']}",
        )
        for each in report["results"]
    ]


def unexplained(results: Sequence[tuple[str, str, str]]) -> Iterator[Finding]:
    """Yield what bandit found that is not explained above, and explanations of more than it finds."""
    counts = Counter((file, rule) for file, rule, _ in results)
    for file, rule, said in results:
        if counts[file, rule] > EXPLAINED.get((file, rule), (0, ""))[0]:
            yield Finding(said)
    for (file, rule), (times, _) in EXPLAINED.items():
        if counts[file, rule] < times:
            yield Finding(
                f"{file}: {Path(__file__).name} explains {rule} {times} times, found {counts[file, rule]} times"
            )


def audit(lock: Path) -> Audited:
    """Return what the first service that knows all packages says; of the last one what it could say."""
    answers = Audited(0, (), ())
    for service in SERVICES:
        answers = read(_asked(lock, service))
        if answers.findings or not answers.unknown:
            break
    return answers


def _asked(lock: Path, service: str) -> dict[str, Any]:
    """Return pip-audit's report; of a service that can't be reached one in which it knows nothing."""
    ignored = [word for name in IGNORED for word in ("--ignore-vuln", name)]
    done = _run(
        "pip_audit", "--requirement", str(lock), "--disable-pip", "--no-deps", "--progress-spinner", "off",
        "--format", "json", "--vulnerability-service", service, *ignored,
    )  # fmt: skip
    if done.stdout.lstrip().startswith("{"):
        return _json("pip-audit", done)
    print(f"pip-audit could not ask {service}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return {"dependencies": [{"name": name, "skip_reason": service} for name in names(lock)]}


def read(report: dict[str, Any]) -> Audited:
    """Return what a report of pip-audit says. It ends with 0 where it could look at nothing, so that must be seen."""
    packages = report["dependencies"]
    unknown = tuple(each["name"] for each in packages if "skip_reason" in each)
    findings = tuple(
        Finding(
            f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'none'}"
        )
        for each in packages
        for flaw in each.get("vulns", ())
    )
    return Audited(len(packages) - len(unknown), unknown, findings)


def names(lock: Path) -> list[str]:
    """Return the packages of a lock file."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if line[:1].isalnum()]


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _json(who: str, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"{who} did not work: {done.stderr.strip() or done.stdout.strip()}") from None
    return report


if __name__ == "__main__":
    sys.exit(main())
