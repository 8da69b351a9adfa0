"""The third-party notices list every crate and font that is linked into the program."""

import subprocess
import sys

from servers import ROOT


def test_the_notices_contain_the_licenses_of_every_linked_crate_and_the_font():
    script = ROOT / "scripts" / "third_party_notices.py"
    notices = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, timeout=600).stdout
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--target", "x86_64-unknown-linux-gnu", "--prefix", "none"]
    tree = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600).stdout
    crates = {tuple(line.split()[:2]) for line in tree.splitlines() if line and str(ROOT) not in line}
    assert len(crates) > 100
    package_list, *sections = notices.split("=" * 100)
    titles = "\n".join(section.split("-" * 100)[0] for section in sections)
    for name, version in crates:
        title = f"{name} {version.removeprefix('v')} ("
        assert f"  {title}" in package_list, title
        # CC0 requires no license text.
        assert f"\n{title}" in titles or name.startswith("encoding-index-") or name == "encoding_index_tests", title
    assert (ROOT / "licenses" / "OFL-1.1.txt").read_text().strip() in notices
    assert "GNU GENERAL PUBLIC LICENSE" not in notices
