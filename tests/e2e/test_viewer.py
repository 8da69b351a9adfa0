"""The viewer OHIF in headless Chromium, in two deployments: at another origin than the gateway, and at the same ingress; and over an archive
that has no frames."""

import json
import pathlib
import subprocess

import pytest
import requests

from dicom_rst import DicomRst
from holdings import fill
from servers import CHROMIUM, SCREENSHOTS, Gateway, Nginx, Orthanc, Viewer, free_ports

STUDY = "2.25.133470007535392751803217985031206560121.1.1"
SERIES = f"{STUDY}.1"
IMAGES = 12
PREFIX = "/pacs"


@pytest.fixture(scope="module")
def archive(tmp_path_factory, samples):
    server = Orthanc(tmp_path_factory.mktemp("viewer-archive") / "orthanc")
    fill(server, sorted(path for path in samples.rglob("*") if path.is_file()))
    yield server
    server.stop()


@pytest.fixture
def other_origin(archive, tmp_path):
    """The viewer at another origin than the gateway, which allows this origin."""
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, "gateway", archive.dicomweb, server=f'cors.allowed_origins = ["http://127.0.0.1:{port}"]')
    viewer = Viewer(tmp_path / "viewer", gateway.dicomweb, port)
    yield viewer, gateway.dicomweb
    viewer.stop()
    gateway.stop()


@pytest.fixture
def same_origin(archive, tmp_path):
    """One ingress with the viewer at its root and the gateway under a path."""
    (port,) = free_ports(1)
    gateway = Gateway(tmp_path, "gateway", archive.dicomweb, server='trusted_proxies = ["127.0.0.1/32"]')
    viewer = Viewer(tmp_path / "viewer", f"{PREFIX}/dicom-web/main", port, Nginx.proxy_location(PREFIX, gateway.url))
    yield viewer, f"{viewer.url}{PREFIX.strip('/')}/dicom-web/main"
    viewer.stop()
    gateway.stop()


def run_viewer(name: str, viewer: str) -> dict:
    """Runs viewer.mjs, which stores screenshots, and returns what it prints."""
    folder = SCREENSHOTS / name
    folder.mkdir(parents=True, exist_ok=True)
    command = ["node", "viewer.mjs", CHROMIUM, viewer, STUDY, str(IMAGES), str(folder)]
    run = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=3000)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("deployment", ["other_origin", "same_origin"])
def test_the_viewer_lists_studies_and_scrolls_through_a_series(deployment, request, archive):
    viewer, root = request.getfixturevalue(deployment)
    observations = run_viewer(deployment, viewer.url)
    assert "stopped" not in observations, observations["stopped"]
    assert observations["failed"] == [] and observations["errors"] == [], (observations["failed"], observations["errors"])
    assert {request["status"] for request in observations["requests"]} <= {200, 204, 304}, [request for request in observations["requests"] if request["status"] >= 400]
    assert all(request["url"].startswith(root) for request in observations["requests"])
    assert "Demo" in observations["list"] and "頭部MRI" in observations["list"]
    # The viewer fails at an attribute without a value, which the archive returns for one of the samples.
    rows = requests.get(f"{archive.dicomweb}/studies", timeout=300).json()
    assert any("Value" not in row["00080061"] for row in rows)
    assert f"1-{len(rows)} of {len(rows)}" in observations["list"], observations["list"]
    assert observations["shown"] == f"{IMAGES}/{IMAGES}"
    assert observations["first"]["digest"] != observations["last"]["digest"] and min(observations["first"]["shades"], observations["last"]["shades"]) > 16
    frames = {request["url"] for request in observations["requests"] if f"/series/{SERIES}/" in request["url"] and "/frames/" in request["url"]}
    assert len(frames) == IMAGES, "not every image of the series was loaded through the gateway"


@pytest.fixture(scope="module")
def shown_over_orthanc(archive, tmp_path_factory):
    """What the viewer shows through a gateway in front of Orthanc."""
    return show(archive.dicomweb, "orthanc", tmp_path_factory.mktemp("over-orthanc"))


def show(archive_url: str, profile: str, folder: pathlib.Path) -> dict:
    """Runs the viewer through a gateway in front of the archive with this profile."""
    (port,) = free_ports(1)
    gateway = Gateway(folder, "gateway", archive_url, server='trusted_proxies = ["127.0.0.1/32"]', profile=profile)
    try:
        viewer = Viewer(folder / "viewer", f"{PREFIX}/dicom-web/main", port, Nginx.proxy_location(PREFIX, gateway.url))
        try:
            return run_viewer(folder.name, viewer.url)
        finally:
            viewer.stop()
    finally:
        gateway.stop()


@pytest.mark.parametrize("has_metadata", [True, False], ids=["with metadata of whole studies", "without metadata"])
def test_the_viewer_shows_the_images_of_an_archive_without_frames(has_metadata, archive, shown_over_orthanc, tmp_path):
    dialect = DicomRst(archive.dicomweb, has_metadata)
    try:
        observations = show(dialect.url, "dicom-rst", tmp_path)
    finally:
        dialect.stop()
    assert "stopped" not in observations, observations["stopped"]
    assert observations["failed"] == [] and observations["errors"] == [], (observations["failed"], observations["errors"])
    assert {request["status"] for request in observations["requests"]} <= {200, 204, 304}, [request for request in observations["requests"] if request["status"] >= 400]
    assert observations["shown"] == shown_over_orthanc["shown"] == f"{IMAGES}/{IMAGES}"
    # The digests are those of all pixels of the viewport.
    assert [observations["first"], observations["last"]] == [shown_over_orthanc["first"], shown_over_orthanc["last"]]
    assert not any("/frames/" in path for path in dialect.requests), "the gateway asked for frames"
    assert any(f"/series/{SERIES}/instances/" in path for path in dialect.requests), "the gateway retrieved no instance"
