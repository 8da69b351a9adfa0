"""Searches find exactly the studies whose files match, without duplicates."""

import collections
import datetime
import re
from urllib.parse import quote

import pytest

import expected
from conftest import link, matches
from holdings import Study

# The StudyDate of this study is 1997.04.24, the format of ACR-NEMA. Orthanc compares dates as text and does not find it.
STUDY_WITH_LEGACY_DATE = "1.2.840.113619.2.21.848.246800003.0.1952805748.3"
INVALID_IN_UID = re.compile(r"[^0-9.]")


@pytest.fixture(scope="module")
def resources(fhir, holdings) -> dict[str, dict]:
    """The resource of every study; test_mapping.py compares the resources with the files."""
    return {study.uid: fhir.json(f"/ImagingStudy/{study.uid}") for study in with_valid_uid(holdings)}


def with_valid_uid(holdings) -> list[Study]:
    return [study for study in holdings.studies.values() if not INVALID_IN_UID.search(study.uid)]


def search(fhir, query: str) -> set[str]:
    """Returns the ids on all pages, which must be unique."""
    ids = [resource["id"] for page in fhir.pages(f"/ImagingStudy?{query}") for resource in matches(page)]
    assert len(ids) == len(set(ids)), f"{query} returns a study twice"
    return set(ids)


def studies_with(holdings, matching) -> set[str]:
    return {study.uid for study in with_valid_uid(holdings) if any(matching(dataset) for dataset in study.datasets())}


def test_pages_contain_every_study_once(fhir, holdings):
    for count in (1, 7, 50, 200):
        pages = fhir.pages(f"/ImagingStudy?_count={count}&_elements=status")
        ids = [resource["id"] for page in pages for resource in matches(page)]
        assert sorted(ids) == sorted(study.uid for study in with_valid_uid(holdings))
        assert all(len(matches(page)) == count for page in pages[:-1])
        assert {page.get("total") for page in pages} <= {len(ids), None}
        assert all(link(page, "self") for page in pages)


def test_a_match_without_a_valid_uid_is_reported(fhir):
    """One study has a hexadecimal UID, so it cannot be returned: the total does not count it, and there is a warning."""
    bundle = fhir.json("/ImagingStudy?_count=200&_summary=true")
    assert bundle["total"] == len(matches(bundle))
    (warning,) = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    assert "omitted" in warning["issue"][0]["diagnostics"]


def test_studies_are_found_by_id(fhir, holdings):
    first, second = [study.uid for study in with_valid_uid(holdings)][:2]
    assert search(fhir, f"_id={first}") == {first}
    assert search(fhir, f"_id={first},{second}") == {first, second}
    assert search(fhir, "_id=1.2.3.4.5.6") == set()


def test_studies_are_found_by_study_uid(fhir, holdings):
    for study in with_valid_uid(holdings)[::9]:
        assert search(fhir, f"identifier=urn:oid:{study.uid}") == {study.uid}
        assert search(fhir, f"identifier=urn:dicom:uid|urn:oid:{study.uid}") == {study.uid}
        assert fhir.get(f"/ImagingStudy?identifier=urn:dicom:uid|{study.uid}").status_code == 400


def test_studies_are_found_by_accession_number(fhir, holdings, resources):
    numbers = {identifier["value"] for resource in resources.values() for identifier in resource["identifier"] if "type" in identifier}
    assert len(numbers) > 15
    for number in sorted(numbers):
        def has_number(dataset, number=number):
            return number in (expected.first_value(dataset, "AccessionNumber"), expected.first_value(dataset, "StudyID"))
        assert search(fhir, f"identifier={token(number)}") == studies_with(holdings, has_number), number


def test_studies_are_found_by_accession_number_and_system(fhir, resources):
    for resource in resources.values():
        for identifier in resource["identifier"]:
            if "type" in identifier and "system" in identifier:
                assert resource["id"] in search(fhir, f"identifier={identifier['system']}|{token(identifier['value'])}")
                assert search(fhir, f"identifier=urn:oid:1.2.3|{token(identifier['value'])}") == set()


def token(value: str) -> str:
    """Encodes a value as a token in a query: escapes the separators of FHIR, and then percent-encodes."""
    return quote(re.sub(r"([\\|,$])", r"\\\1", value), safe="")


def test_studies_are_found_by_patient(fhir, resources):
    by_patient = collections.defaultdict(set)
    for uid, resource in resources.items():
        by_patient[resource["subject"]["reference"]].add(uid)
    assert len(by_patient) > 40
    for reference, uids in sorted(by_patient.items()):
        assert search(fhir, f"patient={reference}") == uids
    reference, uids = max(by_patient.items(), key=lambda pair: len(pair[1]))
    for form in (
        f"patient={reference.removeprefix('Patient/')}",
        f"subject={reference}",
        f"subject:Patient={reference.removeprefix('Patient/')}",
        f"patient={quote(f'{fhir.base}/{reference}', safe='')}",
    ):
        assert search(fhir, form) == uids, form
    assert search(fhir, f"patient={quote(f'https://other.example/fhir/{reference}', safe='')}") == set()
    bundle = fhir.json(f"/ImagingStudy?patient={reference}&_count=1")
    assert bundle["total"] == len(uids)


def test_studies_are_found_by_patient_identifier(fhir, holdings):
    values = {(expected.patient_identifier(dataset) or {}).get("value") for study in with_valid_uid(holdings) for dataset in study.datasets()}
    # Orthanc stores this value with trailing padding, returns it without padding, and finds it only with padding.
    assert "PANCREAS_0001" in values
    values.discard(None)
    assert len(values) > 40 and any("*" in value for value in values)
    for value in sorted(values):
        def has_identifier(dataset, value=value):
            return (expected.patient_identifier(dataset) or {}).get("value") == value
        assert search(fhir, f"patient.identifier={token(value)}") == studies_with(holdings, has_identifier), value
    value = next(value for value in sorted(values) if "*" in value)
    for form in ("patient:identifier", "subject:identifier", "subject.identifier", "subject:Patient.identifier"):
        assert search(fhir, f"{form}={token(value)}") == search(fhir, f"patient.identifier={token(value)}")


def test_wildcards_and_separators_in_values_match_only_themselves(fhir):
    """Archives would interpret these values as patterns or lists."""
    for value in ("*", "?", "D*", "DEMO-000?", "*\\", "%2A", "DEMO-0001\\DEMO-0002"):
        assert search(fhir, f"patient.identifier={token(value)}") == set(), value
        assert search(fhir, f"identifier={token(value)}") == set(), value


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "CR", "DX", "MG", "XA", "PT", "SR", "SEG", "KO", "PR", "RTDOSE", "NM", "ZZ"])
def test_studies_are_found_by_modality(fhir, holdings, modality):
    expected_studies = studies_with(holdings, lambda dataset: (expected.modality(dataset) or {}).get("code") == modality)
    assert bool(expected_studies) == (modality != "ZZ")
    assert search(fhir, f"modality={modality}") == expected_studies
    assert search(fhir, f"modality={expected.DCM}|{modality}") == expected_studies
    assert search(fhir, f"modality=http://example.org|{modality}") == set()


def bounds(text: str) -> tuple[datetime.datetime, datetime.datetime]:
    """Returns the interval of a date or dateTime, which is in UTC if it has no offset."""
    parts = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", text)
    year, month, day, hour, minute, second, fraction, zone = parts.groups()
    if hour:
        instant = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        start = instant if instant.tzinfo else instant.replace(tzinfo=datetime.timezone.utc)
        step = datetime.timedelta(microseconds=10 ** (6 - len(fraction))) if fraction else datetime.timedelta(seconds=1 if second else 60)
        return start, start + step
    start = datetime.datetime(int(year), int(month or 1), int(day or 1), tzinfo=datetime.timezone.utc)
    if day:
        return start, start + datetime.timedelta(days=1)
    if month:
        return start, (start + datetime.timedelta(days=31)).replace(day=1)
    return start, start.replace(year=start.year + 1)


COMPARE = {
    "eq": lambda value, criterion: criterion[0] <= value[0] and value[1] <= criterion[1],
    "ne": lambda value, criterion: not (criterion[0] <= value[0] and value[1] <= criterion[1]),
    "gt": lambda value, criterion: value[1] > criterion[1],
    "lt": lambda value, criterion: value[0] < criterion[0],
    "ge": lambda value, criterion: value[1] > criterion[1] or (criterion[0] <= value[0] and value[1] <= criterion[1]),
    "le": lambda value, criterion: value[0] < criterion[0] or (criterion[0] <= value[0] and value[1] <= criterion[1]),
    "sa": lambda value, criterion: value[0] >= criterion[1],
    "eb": lambda value, criterion: value[1] <= criterion[0],
}


@pytest.mark.parametrize("prefix", ["", *COMPARE])
def test_studies_are_found_by_start_date(fhir, resources, prefix):
    """Searches by day, month and year. A study whose match depends on the time zone may be found or not."""
    for searched in ("2004", "2004-01", "2003-08-05", "2024", "2024-03-01", "1997-04-24"):
        criterion = bounds(searched)
        expected_ids, permitted_ids = set(), set()
        for uid, resource in resources.items():
            started = resource.get("started")
            if started is None:
                continue
            matches_day, matches_time = (COMPARE[prefix or "eq"](bounds(text), criterion) for text in (started[:10], started))
            if matches_day and matches_time:
                expected_ids.add(uid)
            elif matches_day or matches_time:
                permitted_ids.add(uid)
        ids = search(fhir, f"started={prefix}{searched}")
        expected_ids, permitted_ids = expected_ids - {STUDY_WITH_LEGACY_DATE}, permitted_ids | {STUDY_WITH_LEGACY_DATE}
        assert expected_ids <= ids <= expected_ids | permitted_ids, (searched, ids - expected_ids, expected_ids - ids)


def test_studies_are_found_by_start_time(fhir, resources):
    start_times = {uid: resource["started"] for uid, resource in resources.items() if "T" in resource.get("started", "")}
    assert len(start_times) > 10
    for uid, started in start_times.items():
        expected_ids = {other for other, text in start_times.items() if bounds(text) == bounds(started)}
        assert uid in expected_ids and expected_ids <= search(fhir, f"started={quote(started)}")
    assert search(fhir, "started=ge2003-01-01&started=lt2004-01-01") == {
        uid for uid, resource in resources.items() if resource.get("started", "").startswith("2003")
    }


def test_studies_are_found_by_status_and_endpoint(fhir, resources):
    assert search(fhir, "status=available") == set(resources)
    assert search(fhir, "status=cancelled") == set()
    assert search(fhir, "endpoint=Endpoint/main&modality=SR") == search(fhir, "modality=SR")
    assert search(fhir, "endpoint=Endpoint/other") == set()


def test_criteria_are_combined_with_and_and_values_with_or(fhir):
    assert search(fhir, "modality=CT&started=ge2010") == search(fhir, "modality=CT") & search(fhir, "started=ge2010")
    assert search(fhir, "modality=CT,MR") == search(fhir, "modality=CT") | search(fhir, "modality=MR")


def test_included_resources_equal_read_resources(fhir, resources):
    uid, resource = next(iter(resources.items()))
    bundle = fhir.json(f"/ImagingStudy?_id={uid}&_include=ImagingStudy:endpoint&_include=ImagingStudy:patient")
    included = [entry for entry in bundle["entry"] if entry["search"]["mode"] == "include"]
    assert {entry["fullUrl"] for entry in included} == {
        f"{fhir.base}/Endpoint/main",
        f"{fhir.base}/{resource['subject']['reference']}",
    }
    assert bundle["total"] == 1 and [study["id"] for study in matches(bundle)] == [uid]
    for entry in bundle["entry"]:
        read = fhir.json(entry["fullUrl"])
        if read["resourceType"] == "Patient":
            # One study describes the included Patient; only a read looks at the changes of all studies of the patient.
            del read["meta"]["lastUpdated"]
        assert read == entry["resource"]


def test_patients_are_found_by_every_parameter(fhir, resources):
    patients = [patient for page in fhir.pages("/Patient?_count=20") for patient in matches(page)]
    ids = [patient["id"] for patient in patients]
    subjects = {resource["subject"]["reference"].removeprefix("Patient/") for resource in resources.values()}
    # One more patient is known only by a study without a DICOM UID, of which there is no resource.
    assert len(ids) == len(set(ids)) and subjects < set(ids) and len(ids) == len(subjects) + 1

    def search_patients(query: str) -> set[str]:
        return {patient["id"] for page in fhir.pages(f"/Patient?{query}") for patient in matches(page)}

    def patients_with(matching) -> set[str]:
        return {patient["id"] for patient in patients if matching(patient)}

    for gender in ("male", "female", "other", "unknown"):
        assert search_patients(f"gender={gender}") == patients_with(lambda patient: patient.get("gender") == gender)
    birth_dates = {patient["birthDate"] for patient in patients if "birthDate" in patient}
    for birth_date in birth_dates:
        assert search_patients(f"birthdate={birth_date}") == patients_with(lambda patient: patient.get("birthDate") == birth_date)
    assert search_patients("birthdate=lt1960-01-01") == patients_with(lambda patient: patient.get("birthDate", "9") < "1960")
    families = {name["family"] for patient in patients for name in patient.get("name", []) if "family" in name}
    for family in sorted(family for family in families if any(map(str.isalnum, family))):
        ids = patients_with(lambda patient: any(name.get("family") == family for name in patient.get("name", [])))
        for query in (f"family={token(family)}", f"name={token(family)}"):
            assert ids <= search_patients(query), query
    for patient in patients:
        for identifier in patient.get("identifier", [])[:1]:
            assert patient["id"] in search_patients(f"identifier={token(identifier['value'])}")
        assert search_patients(f"_id={patient['id']}") == {patient["id"]}
    given = next(name["given"][0] for patient in patients for name in patient.get("name", []) if "given" in name)
    assert search_patients(f"given={token(given)}") >= patients_with(lambda patient: any(given in name.get("given", []) for name in patient.get("name", [])))


def test_endpoints_are_found_by_every_parameter(fhir):
    assert [endpoint["id"] for endpoint in matches(fhir.json("/Endpoint"))] == ["main"]
    for query, count in (("_id=main", 1), ("_id=other", 0), ("name=main", 1), ("status=active", 1), ("status=off", 0), ("connection-type=dicom-wado-rs", 1)):
        assert fhir.json(f"/Endpoint?{query}")["total"] == count, query
    endpoint = fhir.json("/Endpoint/main")
    assert endpoint["address"] == fhir.base.removesuffix("/fhir") + "/dicom-web/main"
