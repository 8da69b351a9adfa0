"""OHIF in headless Chromium, as a hospital would deploy it: from another origin, and behind a shared ingress under a path."""

import json
import os
import pathlib
import subprocess

import pytest
import requests

import holdings as held
from servers import CHROMIUM, OHIF, ROOT, Gateway, Nginx, Orthanc, documented, free_ports

STUDY = "2.25.133470007535392751803217985031206560121.1.1"
SERIES = f"{STUDY}.1"
IMAGES = 12
PREFIX = "/pacs"
SCREENSHOTS = pathlib.Path(os.environ.get("SCREENSHOTS", ROOT / ".cache" / "screenshots"))

class Viewer(Nginx):
    """The files of the viewer, and other locations of the same ingress."""

    def __init__(self, folder: pathlib.Path, root: str, port: int, locations: str = ""):
        folder.mkdir()
        (folder / "app-config.js").write_text(documented("js", {"https://gateway.example/dicom-web/main": root}))
        super().__init__(folder, f"""
          listen 127.0.0.1:{port};
          types {{ application/wasm wasm; text/javascript js mjs; text/css css; text/html html; image/svg+xml svg; }}
          add_header Cross-Origin-Opener-Policy same-origin;
          add_header Cross-Origin-Embedder-Policy require-corp;
          location = /app-config.js {{ alias {folder}/app-config.js; }}
          location / {{ root {OHIF}; try_files $uri /index.html; }}
          {locations}""", f"http://127.0.0.1:{port}/app-config.js")
        self.url = f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def archive(tmp_path_factory, samples):
    server = Orthanc(tmp_path_factory.mktemp("viewer-archive") / "orthanc")
    held.fill(server, sorted(path for path in samples.rglob("*") if path.is_file()))
    yield server
    server.stop()


@pytest.fixture
def own_origin(archive, tmp_path):
    """The viewer at another origin, which the gateway allows."""
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, "gateway", archive.dicomweb, server=f'cors.allowed_origins = ["http://127.0.0.1:{port}"]')
    viewer = Viewer(tmp_path / "viewer", gateway.dicomweb, port)
    yield viewer, gateway.dicomweb
    viewer.stop()
    gateway.stop()


@pytest.fixture
def under_a_path(archive, tmp_path):
    """One ingress: the viewer at its root, the gateway under a path."""
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, "gateway", archive.dicomweb, server='trusted_proxies = ["127.0.0.1/32"]')
    viewer = Viewer(tmp_path / "viewer", f"{PREFIX}/dicom-web/main", port, Nginx.proxying(PREFIX, gateway.url))
    yield viewer, f"{viewer.url}{PREFIX.strip('/')}/dicom-web/main"
    viewer.stop()
    gateway.stop()


def run_viewer(name: str, viewer: str) -> dict:
    """The observations of a browser; the screenshots are stored for people."""
    folder = SCREENSHOTS / name
    folder.mkdir(parents=True, exist_ok=True)
    command = ["node", "viewer.mjs", CHROMIUM, viewer, STUDY, str(IMAGES), str(folder)]
    ran = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=3000)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("place", ["own_origin", "under_a_path"])
def test_the_viewer_lists_studies_and_scrolls_through_a_series(place, request, archive):
    viewer, root = request.getfixturevalue(place)
    seen = run_viewer(place, viewer.url)
    assert "stopped" not in seen, seen["stopped"]
    assert seen["failed"] == [] and seen["errors"] == [], (seen["failed"], seen["errors"])
    assert {one["status"] for one in seen["requests"]} <= {200, 204, 304}, [one for one in seen["requests"] if one["status"] >= 400]
    assert all(one["url"].startswith(root) for one in seen["requests"])
    assert "Demo" in seen["list"] and "頭部MRI" in seen["list"]
    # The viewer fails at an attribute without a value, which the archive returns for one of the samples.
    rows = requests.get(f"{archive.dicomweb}/studies", timeout=300).json()
    assert any("Value" not in row["00080061"] for row in rows)
    assert f"1-{len(rows)} of {len(rows)}" in seen["list"], seen["list"]
    assert seen["shown"] == f"{IMAGES}/{IMAGES}"
    assert seen["first"]["digest"] != seen["last"]["digest"] and min(seen["first"]["shades"], seen["last"]["shades"]) > 16
    frames = {one["url"] for one in seen["requests"] if f"/series/{SERIES}/" in one["url"] and "/frames/" in one["url"]}
    assert len(frames) == IMAGES, "every image of the series was loaded through the gateway"
