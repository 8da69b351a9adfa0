#!/usr/bin/env python3
"""Writes the licenses of everything that is linked into the program to the standard output: THIRD-PARTY-NOTICES.

    scripts/third_party_notices.py >THIRD-PARTY-NOTICES

The crates are those in Cargo.lock that the program depends on under Linux, without build and test dependencies; the texts are
the license files that their authors publish with them. Fails if a license requires its text and no text is found.
Needs Python 3.11 and cargo, and downloads missing crates.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
LICENSE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
NOT_TEXT = {".rs", ".py", ".c", ".h", ".cmake"}

# License files of C code in a crate that is under a choice of licenses: the license that was not chosen.
NOT_CHOSEN = {("zstd-sys", "zstd/COPYING"): "BSD-3-Clause is chosen, not GPL-2.0"}

# Crates without a license file, from the same repository as a crate that has it.
SAME_AS = {"alloc-stdlib": "alloc-no-stdlib"}

# Contents of the program besides crates.
OTHERS = {
    "GNU Unifont 15.1.05 (OFL-1.1), in unifont": ROOT / "licenses" / "OFL-1.1.txt",
    "The Rust standard library (MIT OR Apache-2.0)": ROOT / "LICENSE",
}


def linked(target: str) -> dict[str, dict]:
    """The packages that are linked into the program for this target, by their ids."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (root,) = (package["id"] for package in packages.values() if pathlib.Path(package["manifest_path"]).parent == ROOT)
    found, following = set(), [root]
    while following:
        for dependency in nodes[following.pop()]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                following.append(dependency["pkg"])
    # Crates of this project are under its own license.
    return {one: packages[one] for one in found if packages[one]["source"] is not None}


def texts(package: dict) -> list[str]:
    """The contents of the license files of a package and of the code that it contains."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.rglob("*") if LICENSE_FILE.fullmatch(path.name) and path.suffix not in NOT_TEXT)
    chosen = [path for path in files if path.is_file() and (package["name"], str(path.relative_to(folder))) not in NOT_CHOSEN]
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in chosen]


def fallback(package: dict, by_name: dict[str, dict]) -> list[str] | None:
    """Texts for a package that has no license file; `None` if there are none for its license."""
    if package["name"] in SAME_AS:
        return texts(by_name[SAME_AS[package["name"]]]) or None
    choices = set(re.split(r"\s+OR\s+|/", package["license"] or ""))
    if "Apache-2.0" in choices:
        return [(ROOT / "LICENSE").read_text().strip()]
    # CC0 requires no text.
    return [] if "CC0-1.0" in choices else None


def main() -> int:
    packages = {}
    for target in TARGETS:
        packages |= linked(target)
    ordered = sorted(packages.values(), key=lambda package: (package["name"], package["version"]))
    by_name = {package["name"]: package for package in ordered}
    users, missing = collections.defaultdict(list), []
    for package in ordered:
        title = f"{package['name']} {package['version']} ({package['license'] or 'license in its files'})"
        found = texts(package) or fallback(package, by_name)
        if found is None:
            missing.append(title)
        for text in found or []:
            if title not in users[text]:
                users[text].append(title)
    if missing:
        print("no license text was found for:", *missing, sep="\n  ", file=sys.stderr)
        return 1
    for title, path in OTHERS.items():
        users[path.read_text().strip()].append(title)
    print("dicomweb-gateway contains the following third-party software, under the licenses below.\n")
    for package in ordered:
        print(f"  {package['name']} {package['version']} ({package['license']}) {package['repository'] or ''}".rstrip())
    for title in OTHERS:
        print(f"  {title}")
    for text, titles in users.items():
        print("\n" + "=" * 100 + "\n" + "\n".join(titles) + "\n" + "-" * 100 + "\n\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
