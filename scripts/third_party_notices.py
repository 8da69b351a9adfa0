#!/usr/bin/env python3
"""Writes the licenses of all code and fonts that are linked into the program to standard output.

    scripts/third_party_notices.py >THIRD-PARTY-NOTICES

The notices contain the license files of each crate in Cargo.lock that the program depends on under Linux, except build and test
dependencies. Fails if a license requires its text and no text is found. Requires Python 3.11 and cargo, and downloads missing crates.
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
SOURCE_SUFFIXES = {".rs", ".py", ".c", ".h", ".cmake"}

# License files of a license that was not chosen, for code with a choice of licenses, and the reason.
NOT_CHOSEN = {("zstd-sys", "zstd/COPYING"): "BSD-3-Clause is chosen, not GPL-2.0"}

# Crates without a license file, and a crate from the same repository with a license file.
SAME_AS = {"alloc-stdlib": "alloc-no-stdlib"}

# Contents of the program that are not crates, and their licenses.
OTHER_CONTENTS = {
    "GNU Unifont 15.1.05 (OFL-1.1), in unifont": ROOT / "licenses" / "OFL-1.1.txt",
    "The Rust standard library (MIT OR Apache-2.0)": ROOT / "LICENSE",
}


def linked_packages(target: str) -> dict[str, dict]:
    """Returns the packages that are linked into the program for a target, by their ids."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (root,) = (package["id"] for package in packages.values() if pathlib.Path(package["manifest_path"]).parent == ROOT)
    found, unvisited = set(), [root]
    while unvisited:
        for dependency in nodes[unvisited.pop()]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                unvisited.append(dependency["pkg"])
    # The crates of this project have the license of the project.
    return {package_id: packages[package_id] for package_id in found if packages[package_id]["source"] is not None}


def license_texts(package: dict) -> list[str]:
    """Returns the contents of the license files of a package and of the code that it contains."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.rglob("*") if LICENSE_FILE.fullmatch(path.name) and path.suffix not in SOURCE_SUFFIXES)
    chosen = [path for path in files if path.is_file() and (package["name"], str(path.relative_to(folder))) not in NOT_CHOSEN]
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in chosen]


def fallback_texts(package: dict, by_name: dict[str, dict]) -> list[str] | None:
    """Returns the license texts for a package without a license file; `None` if the text of its license is not available."""
    if package["name"] in SAME_AS:
        return license_texts(by_name[SAME_AS[package["name"]]]) or None
    choices = set(re.split(r"\s+OR\s+|/", package["license"] or ""))
    if "Apache-2.0" in choices:
        return [(ROOT / "LICENSE").read_text().strip()]
    # CC0 requires no text.
    return [] if "CC0-1.0" in choices else None


def main() -> int:
    packages = {}
    for target in TARGETS:
        packages |= linked_packages(target)
    ordered = sorted(packages.values(), key=lambda package: (package["name"], package["version"]))
    by_name = {package["name"]: package for package in ordered}
    titles_by_text, missing = collections.defaultdict(list), []
    for package in ordered:
        title = f"{package['name']} {package['version']} ({package['license'] or 'license in its files'})"
        texts = license_texts(package) or fallback_texts(package, by_name)
        if texts is None:
            missing.append(title)
        for text in texts or []:
            if title not in titles_by_text[text]:
                titles_by_text[text].append(title)
    if missing:
        print("no license text was found for:", *missing, sep="\n  ", file=sys.stderr)
        return 1
    for title, path in OTHER_CONTENTS.items():
        titles_by_text[path.read_text().strip()].append(title)
    print("dicomweb-gateway contains the following third-party software, under the licenses below.\n")
    for package in ordered:
        print(f"  {package['name']} {package['version']} ({package['license']}) {package['repository'] or ''}".rstrip())
    for title in OTHER_CONTENTS:
        print(f"  {title}")
    for text, titles in titles_by_text.items():
        print("\n" + "=" * 100 + "\n" + "\n".join(titles) + "\n" + "-" * 100 + "\n\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
