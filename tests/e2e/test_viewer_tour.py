"""The viewer OHIF shows every kind of object through the gateway as it does in front of the archive itself.

Two ingresses serve the same viewer: one has Orthanc under /dicom-web, the other the gateway under /pacs. viewer_tour.mjs opens each study in
both, each series of it by a double click, and the last image of those with several.

What the viewer cannot show in front of Orthanc, it cannot show through the gateway either, with the same messages, except for videos:

- Presentation states and key objects are listed as unsupported.
- The report of the sample study has an item without a concept name, at which OHIF 3.13 fails. The report of the tour has none.
- A video has an empty viewport, which is not compared. The viewer requests the rendered instance, which Orthanc rejects with 400,
  while the gateway returns the video.

Orthanc 1.10 ignores an `includefield` whose commas are percent-encoded, as OHIF writes them: without the gateway, the list of a patient's
studies has no descriptions. The ingress in front of Orthanc decodes the commas, so that the two places can be compared.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import subprocess

import numpy
import pytest
import requests
from PIL import Image

import viewer_studies
from holdings import fill
from servers import CHROMIUM, SCREENSHOTS, Gateway, Nginx, Orthanc, Viewer, free_ports
from viewer_studies import DOCUMENT, REPORT, SLIDE, STRUCTURE_SET, VIDEO, study_uid

PREFIX = "/pacs"
SAMPLES = "2.25.133470007535392751803217985031206560121"
# The share of the pixels of a screenshot that may differ, and by how much a pixel may differ without being counted.
MAX_DIFFERENT_PIXELS = 0.0001
MAX_DIFFERENCE = 8
# Decodes the commas of `includefield`: each line decodes one.
DECODE_COMMAS = 'if ($args ~ "^(.*includefield=[^&]*)%2C(.*)$") { set $args "$1,$2"; }\n' * 4


@dataclasses.dataclass(frozen=True)
class View:
    """A series of a study, opened by a double click unless it is open already, and what the viewport must show then."""

    series: int
    shows: str
    opens: bool = True
    text: str = ""

    def arguments(self) -> dict:
        return {"name": f"{self.series}-{self.shows}", **dataclasses.asdict(self)}


def images(series: int, opens: bool = True, count: int = 2) -> list[View]:
    """Returns the views of the first and of the last image of a series."""
    return [View(series, "image", opens), *([View(series, "last", False)] if count > 1 else [])]


QUESTION = "Do you want to open this Segmentation?"
STOPS = {
    "ct": (f"{SAMPLES}.1.1", [
        *images(1, opens=False), View(5, "unsupported"), View(4, "unsupported"), View(2, "segmentation", text=QUESTION),
    ]),
    "sr": (study_uid(REPORT), [View(1, "report", opens=False, text="A bright square")]),
    "rtstruct": (study_uid(STRUCTURE_SET), [*images(1, opens=False), View(2, "structures", text=QUESTION)]),
    "pdf": (study_uid(DOCUMENT), [View(1, "document", opens=False)]),
    "us": (f"{SAMPLES}.3.2", [*images(1, opens=False), *images(2)]),
    "mg": (f"{SAMPLES}.5.1", [*images(1, opens=False, count=1), *images(2, count=1)]),
    "xa": (f"{SAMPLES}.3.1", [*images(1, opens=False), *images(2)]),
    "enhanced": (f"{SAMPLES}.1.2", [*images(1, opens=False), *images(2)]),
    "slide": (study_uid(SLIDE), [View(1, "slide", opens=False)]),
    "video": (study_uid(VIDEO), [View(1, "video", opens=False)]),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory, samples):
    server = Orthanc(tmp_path_factory.mktemp("tour-archive") / "orthanc")
    fill(server, sorted(path for path in samples.rglob("*") if path.is_file()))
    with requests.Session() as session:
        assert {server.store(session, content) for content in viewer_studies.all_files()} == {"Success"}
    yield server
    server.stop()


@pytest.fixture(scope="module")
def places(archive, tmp_path_factory):
    """The URLs of the viewer in front of the archive, and in front of the gateway."""
    folder = tmp_path_factory.mktemp("tour")
    archive_port, gateway_port = free_ports(2)
    with contextlib.ExitStack() as servers:
        def keep(server):
            servers.callback(server.stop)
            return server

        gateway = keep(Gateway(folder, "gateway", archive.dicomweb, server='trusted_proxies = ["127.0.0.1/32"]'))
        at_archive = keep(Viewer(folder / "at-archive", "/dicom-web", archive_port, f"""
          location /dicom-web/ {{
            {DECODE_COMMAS} proxy_pass {archive.url}; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header Connection ""; proxy_set_header Host $http_host;
          }}"""))
        at_gateway = keep(Viewer(folder / "at-gateway", f"{PREFIX}/dicom-web/main", gateway_port, Nginx.proxy_location(PREFIX, gateway.url)))
        yield {"archive": at_archive.url, "gateway": at_gateway.url}


@pytest.fixture(scope="module")
def observations(places) -> dict[str, list[dict]]:
    """What the viewer showed at both places in each view, by stop."""
    folder = SCREENSHOTS / "tour"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stops = [{"name": name, "study": study, "views": [view.arguments() for view in views]} for name, (study, views) in STOPS.items()]
    command = ["node", "viewer_tour.mjs", CHROMIUM, json.dumps(places), json.dumps(stops), str(folder)]
    run = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=3000)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert "stopped" not in result, result["stopped"]
    return {name: [observation for observation in result["observations"] if observation["stop"] == name] for name in STOPS}


def different_pixels(first: str, second: str) -> float:
    """Returns the share of pixels that differ in two screenshots."""
    pixels = [numpy.asarray(Image.open(path).convert("RGB"), dtype=int) for path in (first, second)]
    return float((abs(pixels[0] - pixels[1]).max(axis=2) > MAX_DIFFERENCE).mean())


@pytest.mark.parametrize("stop", STOPS)
def test_the_viewer_shows_the_same_through_the_gateway_as_in_front_of_the_archive(stop, observations):
    _, views = STOPS[stop]
    for observation in observations[stop]:
        archive, gateway = observation["places"]["archive"], observation["places"]["gateway"]
        name = f"{stop}, {observation['view']}"
        assert archive["rendered"], f"{name}: not rendered in front of the archive: {archive['reason']}"
        assert gateway["rendered"], f"{name}: not rendered through the gateway: {gateway['reason']}"
        if stop == "video":
            rejected = [failure for failure in archive["failures"] if failure.endswith("/rendered was rejected")]
            assert len(rejected) == 1, archive["failures"]
            # Chromium may also report that it has canceled the rejected request.
            canceled = rejected[0].replace(" was rejected", " failed")
            archive["failures"] = [failure for failure in archive["failures"] if failure not in (rejected[0], canceled)]
        for aspect in ("text", "thumbnails", "viewports", "messages", "failures", "requests"):
            assert gateway[aspect] == archive[aspect], f"{name}: {aspect} differ"
        difference = different_pixels(archive["screenshot"], gateway["screenshot"])
        assert difference <= MAX_DIFFERENT_PIXELS, f"{name}: {difference:.2%} of the pixels differ: {archive['screenshot']}, {gateway['screenshot']}"
    assert [observation["view"] for observation in observations[stop]] == [view.arguments()["name"] for view in views]
