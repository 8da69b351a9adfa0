"""Every FHIR body that any other test received is valid; this file comes last, so that there is something to look at."""

import json

import pytest

import validators


def test_every_body_is_valid_for_medplum(fhir, record):
    fhir.get("/metadata")
    assert validators.medplum(record) == {}


def test_every_body_is_valid_by_the_schema_of_hl7(fhir, record):
    fhir.get("/metadata")
    assert validators.hl7_schema(record) == {}


BROKEN = {
    "status outside its value set": {"resourceType": "ImagingStudy", "status": 7, "subject": {"display": "x"}},
    "an element that there is not": {"resourceType": "Patient", "surname": "x"},
    "a date that is none": {"resourceType": "Patient", "birthDate": "1.2.1950"},
    "one where many stand": {"resourceType": "Patient", "name": {"family": "x"}},
}


@pytest.mark.parametrize("flaw", BROKEN)
@pytest.mark.parametrize("validate", [validators.medplum, validators.hl7_schema])
def test_what_is_broken_is_refused_by_each(tmp_path, validate, flaw):
    (tmp_path / "broken.json").write_text(json.dumps(BROKEN[flaw]))
    assert validate(tmp_path)
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": BROKEN[flaw]}]}
    (tmp_path / "broken.json").write_text(json.dumps(bundle))
    assert validate(tmp_path)
