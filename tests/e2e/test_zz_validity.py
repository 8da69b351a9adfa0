"""Every FHIR body that the other tests received is valid. pytest runs this file last, because of its name."""

import json

import pytest

import fhir_xml
import validators


def test_every_json_body_is_valid_according_to_medplum(fhir, record):
    fhir.get("/metadata")
    assert validators.medplum_errors(record) == {}


def test_every_json_body_is_valid_according_to_the_schema_of_hl7(fhir, record):
    fhir.get("/metadata")
    assert validators.hl7_schema_errors(record) == {}


def test_every_xml_body_is_valid_according_to_the_schema_of_hl7(fhir, record):
    fhir.get("/metadata", headers={"Accept": "application/fhir+xml"})
    schema = validators.Schema()
    bodies = list(record.glob("*.xml"))
    assert bodies
    for path in bodies:
        assert schema.errors(fhir_xml.read(path.read_bytes())) == [], path


INVALID = {
    "status outside its value set": {"resourceType": "ImagingStudy", "status": 7, "subject": {"display": "x"}},
    "an unknown element": {"resourceType": "Patient", "surname": "x"},
    "an invalid date": {"resourceType": "Patient", "birthDate": "1.2.1950"},
    "an object instead of an array": {"resourceType": "Patient", "name": {"family": "x"}},
}


@pytest.mark.parametrize("error", INVALID)
@pytest.mark.parametrize("validate", [validators.medplum_errors, validators.hl7_schema_errors])
def test_each_validator_rejects_invalid_resources(tmp_path, validate, error):
    (tmp_path / "invalid.json").write_text(json.dumps(INVALID[error]))
    assert validate(tmp_path)
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": INVALID[error]}]}
    (tmp_path / "invalid.json").write_text(json.dumps(bundle))
    assert validate(tmp_path)


INVALID_XML = {
    "an unknown element": '<surname value="x"/>',
    "elements out of order": '<name><given value="a"/><family value="b"/></name>',
    "a repeated single element": '<gender value="male"/><gender value="male"/>',
    "an attribute instead of an element": '<identifier value="x"/>',
    "an element instead of an attribute": '<extension><url value="x"/></extension>',
    "text": "<name>x</name>",
    "an empty element": "<gender/>",
    "an unknown resource type": "<contained><Nothing/></contained>",
    "another namespace": '<gender xmlns="x" value="male"/>',
}


@pytest.mark.parametrize("error", INVALID_XML)
def test_invalid_xml_is_rejected(error):
    valid = '<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'
    assert fhir_xml.read(valid.encode()) == {"resourceType": "Patient", "active": True}
    with pytest.raises(fhir_xml.NotFhir):
        fhir_xml.read(f'<Patient xmlns="http://hl7.org/fhir">{INVALID_XML[error]}</Patient>'.encode())
