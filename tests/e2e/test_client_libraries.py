"""DICOMweb client libraries get the same responses from the gateway as from Orthanc."""

import hashlib
import io
import json
import pathlib
import subprocess

import pytest
from dicomweb_client.api import DICOMwebClient

from servers import CHROMIUM, Gateway, documented_block
from test_dicomweb import rows_of_gateway

STUDY = "2.25.133470007535392751803217985031206560121.1.1"
SERIES = f"{STUDY}.1"


@pytest.fixture(scope="module")
def instance(holdings) -> str:
    return sorted(holdings.studies[STUDY].series[SERIES].instances)[0]


@pytest.fixture(scope="module")
def with_public_url(orthanc, holdings, folder):
    """A gateway with `public_url`, because one of the libraries omits the port from the Host header."""
    server = Gateway(folder, "with-public-url", orthanc.dicomweb, server=f'public_url = "{{url}}"\ncors.allowed_origins = ["{orthanc.url}"]', profile="generic")
    yield server
    server.stop()


def rewrite(value, gateway, orthanc):
    return rows_of_gateway(json.loads(json.dumps(value).replace(orthanc.dicomweb, gateway.dicomweb)))


def file_digest(dataset) -> str:
    file = io.BytesIO()
    dataset.save_as(file)
    return hashlib.sha256(file.getvalue()).hexdigest()


OCTETS = (("application/octet-stream", "*"),)
AS_STORED = (("application/dicom", "*"),)
CALLS = {
    "studies": lambda client, _: client.search_for_studies(),
    "studies of a patient": lambda client, _: client.search_for_studies(search_filters={"PatientID": "DEMO-0001"}, fields=["StudyDescription", "00080060"]),
    "a page of studies": lambda client, _: client.search_for_studies(limit=5, offset=3, fuzzymatching=True),
    "every page of studies": lambda client, _: client.search_for_studies(limit=20, get_remaining=True),
    "series": lambda client, _: client.search_for_series(STUDY),
    "every series": lambda client, _: client.search_for_series(),
    "instances": lambda client, _: client.search_for_instances(STUDY, SERIES),
    "instances of a study": lambda client, _: client.search_for_instances(STUDY, fields=["all"]),
    "a page of all instances": lambda client, _: client.search_for_instances(limit=10),
    "metadata of a study": lambda client, _: client.retrieve_study_metadata(STUDY),
    "metadata of a series": lambda client, _: client.retrieve_series_metadata(STUDY, SERIES),
    "metadata of an instance": lambda client, instance: client.retrieve_instance_metadata(STUDY, SERIES, instance),
    "a study": lambda client, _: sorted(map(file_digest, client.retrieve_study(STUDY, media_types=AS_STORED))),
    "a study as a stream": lambda client, _: sorted(map(file_digest, client.iter_study(STUDY, media_types=AS_STORED))),
    "a series": lambda client, _: sorted(map(file_digest, client.retrieve_series(STUDY, SERIES))),
    "a series as a stream": lambda client, _: sorted(map(file_digest, client.iter_series(STUDY, SERIES))),
    "an instance": lambda client, instance: file_digest(client.retrieve_instance(STUDY, SERIES, instance, media_types=AS_STORED)),
    "a frame": lambda client, instance: [frame.hex() for frame in client.retrieve_instance_frames(STUDY, SERIES, instance, [1], media_types=OCTETS)],
    "a frame as a stream": lambda client, instance: [frame.hex() for frame in client.iter_instance_frames(STUDY, SERIES, instance, [1], media_types=OCTETS)],
    "an image": lambda client, instance: client.retrieve_instance_rendered(STUDY, SERIES, instance, media_types=("image/png",)).hex(),
    "an image of a frame": lambda client, instance: client.retrieve_instance_frames_rendered(STUDY, SERIES, instance, [1], media_types=("image/jpeg",)).hex(),
}


@pytest.mark.parametrize("call", CALLS)
def test_dicomweb_client_of_pypi_gets_the_same_responses_as_from_orthanc(call, with_public_url, orthanc, instance):
    from_gateway = CALLS[call](DICOMwebClient(with_public_url.dicomweb), instance)
    from_orthanc = CALLS[call](DICOMwebClient(orthanc.dicomweb), instance)
    # Orthanc writes URLs with the Host header of the request, from which this library omits the port.
    from_orthanc = json.loads(json.dumps(from_orthanc).replace("http://127.0.0.1/dicom-web", orthanc.dicomweb))
    if call == "every page of studies":
        # The library takes a page with an omitted row for a shorter one, so the offsets of its next pages are others.
        from_gateway = sorted({json.dumps(row) for row in from_gateway})
        assert from_gateway == sorted({json.dumps(row) for row in rewrite(from_orthanc, with_public_url, orthanc)})
        return
    assert from_gateway == rewrite(from_orthanc, with_public_url, orthanc) and len(from_gateway) > 0


def test_dicomweb_client_of_pypi_gets_frames_and_bulk_data_that_it_cannot_get_from_orthanc(with_public_url, orthanc, instance):
    """Orthanc rejects the Accept header that the library sends by default for frames, and returns invalid bulk data URIs to it."""
    from_gateway, from_orthanc = DICOMwebClient(with_public_url.dicomweb), DICOMwebClient(orthanc.dicomweb)
    with pytest.raises(Exception, match="400"):
        from_orthanc.retrieve_instance_frames(STUDY, SERIES, instance, [1])
    frames = from_gateway.retrieve_instance_frames(STUDY, SERIES, instance, [1])
    assert frames == from_orthanc.retrieve_instance_frames(STUDY, SERIES, instance, [1], media_types=OCTETS)
    uri = from_gateway.retrieve_instance_metadata(STUDY, SERIES, instance)["7FE00010"]["BulkDataURI"]
    assert uri.startswith(with_public_url.dicomweb)
    assert from_gateway.retrieve_bulkdata(uri) == frames


def test_dicomweb_client_of_npm_gets_the_same_responses_as_from_orthanc(with_public_url, orthanc, instance):
    """The library runs in a page from Orthanc, for which the gateway is another origin."""
    command = ["node", "dicomweb_client.mjs", CHROMIUM, f"{orthanc.url}/system", STUDY, SERIES, instance, orthanc.dicomweb, with_public_url.dicomweb]
    run = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    from_orthanc, from_gateway = rewrite(results[orthanc.dicomweb], with_public_url, orthanc), results[with_public_url.dicomweb]
    for call, response in from_orthanc.items():
        assert "error" not in response, (call, response)
        assert from_gateway[call] == rows_of_gateway(response), call
    assert len(from_orthanc) == 16


def test_the_python_example_in_the_viewer_documentation_runs(with_public_url, capsys):
    exec(compile(documented_block("python", {"http://127.0.0.1:8080/dicom-web/demo": with_public_url.dicomweb}), "docs/viewers.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and all(line.split()[0].replace(".", "").isdigit() for line in lines), lines[:3]
