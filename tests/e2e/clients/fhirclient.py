"""The answers of PyPI's fhirclient, the SMART client, without authorization; test_clients.py describes the answers.

Its models validate each resource: a property that R4 does not define, a missing one, or one of another type is an exception.
"""

import requests
from fhirclient import client, server
from fhirclient.models import bundle, endpoint, imagingstudy, patient

ImagingStudy = imagingstudy.ImagingStudy


def failure(request) -> dict:
    """The exception of the client, which has the response."""
    try:
        return {"unexpected": request()}
    except (server.FHIRNotFoundException, requests.HTTPError) as error:
        return {"kind": type(error).__name__, "status": error.response.status_code, "outcome": error.response.json()}


def answers(question: dict) -> dict:
    smart = client.FHIRClient(settings={"app_id": "tests", "api_base": question["base"]})
    assert smart.prepare()
    statement = smart.server.capabilityStatement
    capabilities = {
        resource.type: {
            "interactions": [one.code for one in resource.interaction],
            "parameters": [one.name for one in resource.searchParam],
        }
        for resource in statement.rest[0].resource
    }

    def pages(**parameters) -> list:
        return list(ImagingStudy.where(parameters).perform_iter(smart.server))

    def of_mode(bundle, mode: str) -> list:
        return [entry.resource for entry in bundle.entry or [] if entry.search.mode == mode]

    modality, study = question["modality"], question["study"]
    forth = pages(modality=modality, _count=str(question["count"]))
    (included,) = ImagingStudy.where({"_id": study}).include("subject").include("endpoint").perform_iter(smart.server)
    (summary,) = pages(_id=study, _summary="true")
    (counted,) = pages(modality=modality, _summary="count")
    assert {type(one) for one in of_mode(included, "include")} == {patient.Patient, endpoint.Endpoint}
    read = ImagingStudy.read(study, smart.server)
    history = f"ImagingStudy/{study}/_history"

    def names(path: str) -> list[str]:
        found = bundle.Bundle.read_from(path, smart.server)
        return [f"{entry.resource.resource_type}/{entry.resource.id}" for entry in found.entry]

    of_patient = f"Patient/{question['patient']}"
    answered = bundle.Bundle(smart.server.post_json("", question["batch"]).json())
    return {
        "version": statement.fhirVersion,
        "capabilities": capabilities,
        "study": read.as_json(),
        "versioned": ImagingStudy.read_from(f"{history}/{read.meta.versionId}", smart.server).as_json(),
        "noVersion": failure(lambda: ImagingStudy.read_from(f"{history}/none", smart.server)),
        "compartment": [name.removeprefix("ImagingStudy/") for name in names(f"{of_patient}/ImagingStudy?_count=200")],
        "allTypes": names(f"?_type=ImagingStudy,Patient&_id={study},{question['patient']}"),
        "everything": names(f"{of_patient}/$everything"),
        "batch": [entry.response.status for entry in answered.entry],
        "patient": patient.Patient.read(question["patient"], smart.server).as_json(),
        "forth": [[one.id for one in of_mode(page, "match")] for page in forth],
        "included": [one.as_json() for one in of_mode(included, "include")],
        "summary": of_mode(summary, "match")[0].as_json(),
        "total": counted.total,
        "missing": failure(lambda: ImagingStudy.read("1.2.3.4.5", smart.server)),
        "wrong": failure(lambda: pages(started="yesterday")),
    }
