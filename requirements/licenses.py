"""List the licenses of the packages that cf runs with: `make licenses` writes docs/licenses.md."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = """\
# Licenses of the packages

What cf runs with, at the versions of `requirements/runtime.txt`: first what it imports itself, then
what these packages need. `make licenses` writes this page from what the packages say of themselves.
cf's own license, and those of data sets, are in the [README](../README.md#licenses).

Where a license leaves a choice (asyncssh, dulwich, grandalf), the one that is not the GPL serves.
pygit2 is under the GPL with an exception for programs that link to it. All four are there for DVC.
None is changed or contained in cf, and none is under the AGPL. With PyTorch for GPUs come those of
`requirements/cuda.txt`, of which some are under NVIDIA's own terms.

| package | version | license |
|---|---|---|
"""
# Said by a file only, or by a package for another system than the one that this is run on.
READ = {
    "huey": "MIT",
    "pywin32": "PSF-2.0",
    "skops": "MIT",
    "tzdata": "Apache-2.0",
    "waitress": "ZPL-2.1",
}


def license_of(name: str) -> str:
    """The license by a package's metadata.

    Raises:
        SystemExit: neither they nor `READ` tell it.
    """
    if name in READ:
        return READ[name]
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        raise SystemExit(f"{name} is not installed here: add its license to READ.") from None
    if expression := facts.get("License-Expression"):
        return expression
    text = (facts.get("License") or "").strip()
    if text and len(text) < 40 and not re.search("Copyright|Dual", text):
        return text.replace("|", "or")
    lines = facts.get_all("Classifier") or []
    classes = [line.split(" :: ")[-1] for line in lines if line.startswith("License :: ")]
    if not classes or "OSI Approved" in classes:
        raise SystemExit(f"{name} does not tell its license: look, and add it to READ.")
    return " or ".join(classes)


def main() -> None:
    """Write the page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["fast"]
    direct = {re.split("[<>=]", line)[0].replace(".", "-") for line in asked}
    lock = (ROOT / "requirements/runtime.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE)
    rows = sorted(locked, key=lambda row: (row[0] not in direct, row))
    table = [f"| {name} | {version} | {license_of(name)} |\n" for name, version in rows]
    (ROOT / "docs/licenses.md").write_text(TEXT + "".join(table))


if __name__ == "__main__":
    main()
