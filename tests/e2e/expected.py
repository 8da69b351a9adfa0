"""A second implementation of the mapping: from files read by pydicom to the expected FHIR elements.

Written from the standards (PS3.3, PS3.5, PS3.16, R4 imagingstudy-mappings), not from the gateway. Each file is mapped on its
own; if the files of a study differ, the values of any of them are accepted.
"""

import datetime
import re

import pydicom
from pydicom.dataset import Dataset

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED_CT = "http://snomed.info/sct"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}

SCHEMES = {
    "DCM": DCM,
    "SCT": SNOMED_CT,
    "LN": "http://loinc.org",
    "RADLEX": "http://www.radlex.org",
    "RPID": "http://www.radlex.org",
    "UCUM": "http://unitsofmeasure.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CPT4": "http://www.ama-assn.org/go/cpt",
    "UMLS": "http://www.nlm.nih.gov/research/umls",
}
# Schemes of SNOMED RT, whose codes are not SNOMED CT identifiers.
SNOMED_RT = {"SRT", "SNM3", "99SDM"}

# Codes of these schemes that occur in the files and that PS3.16 Annex L maps to SNOMED CT.
RETIRED = {"T-D9200": "72696002"}

# PS3.16 Annex L, the terms that occur in the files.
BODY_PARTS = {
    "ABDOMEN": "818981001",
    "ANKLE": "70258002",
    "AORTA": "15825003",
    "BRAIN": "12738006",
    "BREAST": "76752008",
    "CHEST": "816094009",
    "CSPINE": "122494005",
    "EXTREMITY": "66019005",
    "HAND": "85562004",
    "HEAD": "69536005",
    "HEART": "80891009",
    "KNEE": "72696002",
    "LSPINE": "122496007",
    "PANCREAS": "15776009",
    "PELVIS": "816092008",
    "SKULL": "89546000",
    "THYROID": "69748006",
    "WHOLEBODY": "38266002",
}

# PS3.16 CID 244.
LATERALITIES = {"R": "24028007", "L": "7771000", "B": "51440002", "U": "66459002"}
GENDERS = {"M": "male", "F": "female", "O": "other"}


def clean(value: object) -> str | None:
    """A FHIR string: no control characters, no leading or trailing spaces, never empty."""
    if value is None:
        return None
    cleaned = "".join(letter for letter in str(value).strip(" \0") if ord(letter) >= 32 and ord(letter) != 127 and not 128 <= ord(letter) < 160 or letter in "\n\r\t")
    return cleaned.strip() or None


def values(dataset: Dataset, keyword: str) -> list:
    """Every value of an element; empty if it is missing or unreadable."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, NotImplementedError):
        return []
    if value is None:
        return []
    if isinstance(value, (pydicom.multival.MultiValue, pydicom.sequence.Sequence, list, tuple)):
        return list(value)
    return [value]


def first(dataset: Dataset, keyword: str) -> str | None:
    texts = values(dataset, keyword)
    return clean(texts[0]) if texts else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return [item for item in values(dataset, keyword) if isinstance(item, Dataset)]


def number(dataset: Dataset, keyword: str) -> int | None:
    text = first(dataset, keyword)
    if text is None or not re.fullmatch(r"[+-]?\d+(\.0*)?", text):
        return None
    whole = int(float(text))
    return whole if 0 <= whole < 2**31 else None


def without_empty(members: dict) -> dict:
    return {key: value for key, value in members.items() if value not in (None, [], {})}


# Dates and times

def day(text: str | None) -> datetime.date | None:
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)", text or "")
    if not found:
        return None
    try:
        return datetime.date(*(int(part) for part in found.groups() if part))
    except ValueError:
        return None


def moment(dataset: Dataset, date: str, time: str) -> str | None:
    """A dateTime with the offset of the file, otherwise the date: FHIR has no time without an offset."""
    on = day(first(dataset, date))
    if on is None:
        return None
    clock = re.fullmatch(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?", first(dataset, time) or "")
    offset = re.fullmatch(r"([+-])(\d\d)(\d\d)", first(dataset, "TimezoneOffsetFromUTC") or "")
    if not clock or not offset:
        return on.isoformat()
    hour, minute, second, fraction = clock.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return on.isoformat()
    zone = f"{offset[1]}{offset[2]}:{offset[3]}"
    zone = "Z" if zone in ("+00:00", "-00:00") else zone
    return f"{on}T{hour}:{minute}:{second or '00'}{'.' + fraction if fraction else ''}{zone}"


# Codes

def coding(item: Dataset) -> dict | None:
    code = first(item, "CodeValue") or first(item, "LongCodeValue") or first(item, "URNCodeValue")
    designator = first(item, "CodingSchemeDesignator")
    if designator in SNOMED_RT and code in RETIRED:
        return without_empty({"system": SNOMED_CT, "code": RETIRED[code], "display": first(item, "CodeMeaning")})
    if not code or not designator or designator in SNOMED_RT:
        return None
    scheme_uid = first(item, "CodingSchemeUID")
    system = SCHEMES.get(designator) or (f"urn:oid:{scheme_uid}" if scheme_uid else None)
    if not system or (system == SNOMED_CT and not code.isdigit()):
        return None
    return without_empty({"system": system, "code": code, "display": first(item, "CodeMeaning")})


def concept(item: Dataset) -> dict | None:
    code, meaning = coding(item), first(item, "CodeMeaning")
    words = meaning or (None if code else first(item, "CodeValue"))
    return without_empty({"coding": [code] if code else [], "text": words}) or None


def concepts(dataset: Dataset, keyword: str) -> list[dict]:
    return [one for one in map(concept, items(dataset, keyword)) if one]


def modality(dataset: Dataset) -> dict | None:
    code = first(dataset, "Modality")
    return {"system": DCM, "code": code.upper()} if code else None


# People

def groups(name: object) -> list[dict]:
    """The representations of a name: alphabetic, ideographic, phonetic; empty ones too."""
    found = []
    for group in (str(name).split("=") + ["", "", ""])[:3]:
        parts = [clean(part) for part in (group.split("^") + [""] * 5)[:5]]
        found.append(dict(zip(("family", "given", "middle", "prefix", "suffix"), parts)))
    return found


def words(group: dict, mark: str = "ABC") -> str | None:
    """The name as text: the family name first in the ideographic and phonetic representations."""
    order = ("prefix", "given", "middle", "family", "suffix") if mark == "ABC" else ("prefix", "family", "given", "middle", "suffix")
    return " ".join(group[part] for part in order if group[part]) or None


def display(name: object) -> str | None:
    return next((text for text in map(words, groups(name), ("ABC", "IDE", "SYL")) if text), None)


def human_names(dataset: Dataset) -> list[dict]:
    found = []
    for name in values(dataset, "PatientName"):
        representations = groups(name)
        alone = not any(words(group) for group in representations[1:])
        for group, mark, usage in zip(representations, ("ABC", "IDE", "SYL"), ("usual", None, None)):
            if words(group):
                found.append(without_empty({
                    "extension": [] if mark == "ABC" and alone else [{"url": REPRESENTATION, "valueCode": mark}],
                    "use": usage,
                    "text": words(group, mark),
                    "family": group["family"],
                    "given": [part for part in (group["given"], group["middle"]) if part],
                    "prefix": [group["prefix"]] if group["prefix"] else [],
                    "suffix": [group["suffix"]] if group["suffix"] else [],
                }))
    return found


def people(dataset: Dataset, keyword: str, identification: str) -> list[dict]:
    identifications = items(dataset, identification)
    found = []
    for position, name in enumerate(values(dataset, keyword)):
        identifier = None
        if position < len(identifications):
            for code in items(identifications[position], "PersonIdentificationCodeSequence")[:1]:
                system = SCHEMES.get(first(code, "CodingSchemeDesignator") or "")
                identifier = without_empty({"system": system, "value": first(code, "CodeValue")})
        found.append(without_empty({"identifier": identifier, "display": display(name)}))
    return [{"type": "Practitioner", **person} for person in found if person]


# Identifiers

def issuer(designator: Dataset | None, local: str | None) -> dict:
    system = None
    if designator is not None:
        local = first(designator, "LocalNamespaceEntityID") or local
        universal, kind = first(designator, "UniversalEntityID"), first(designator, "UniversalEntityIDType")
        if universal and kind:
            system = {"ISO": f"urn:oid:{universal}", "UUID": f"urn:uuid:{universal.lower()}", "URI": universal}.get(kind.upper())
    return {"system": system, "assigner": {"display": local} if local else None}


def identifier(value: str | None, kind: tuple[str, str] | None, issued: dict) -> dict | None:
    if not value:
        return None
    typed = {"coding": [{"system": V2_0203, "code": kind[0], "display": kind[1]}]} if kind else None
    return without_empty({"type": typed, "system": issued["system"], "value": value, "assigner": issued["assigner"]})


def accession(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfAccessionNumberSequence")), None)
    return identifier(first(dataset, "AccessionNumber"), ("ACSN", "Accession ID"), issuer(designator, None))


def requested(dataset: Dataset) -> list[dict | None]:
    """The numbers of the orders that one file fulfills, besides its own Accession Number."""
    found = []
    for request in items(dataset, "ReferencedRequestSequence") + items(dataset, "RequestAttributesSequence"):
        found.append(accession(request))
        for keyword, kind, sequence in (
            ("PlacerOrderNumberImagingServiceRequest", ("PLAC", "Placer Identifier"), "OrderPlacerIdentifierSequence"),
            ("FillerOrderNumberImagingServiceRequest", ("FILL", "Filler Identifier"), "OrderFillerIdentifierSequence"),
        ):
            designator = next(iter(items(request, sequence)), None)
            found.append(identifier(first(request, keyword), kind, issuer(designator, None)))
    return found


def orders(dataset: Dataset, series: list[Dataset]) -> list[dict]:
    """The orders of a study by one of its files, and those that a file of each of its series names."""
    found = [accession(dataset), *requested(dataset)]
    for one in series:
        found += requested(one)
    distinct: list[dict] = []
    for one in filter(None, found):
        # A request that repeats a number without its issuer is the same order.
        if not any(one == known or ("system" not in one and one["value"] == known["value"] and one["type"] == known["type"]) for known in distinct):
            distinct.append(one)
    return [{"type": "ServiceRequest", "identifier": one} for one in distinct]


def patient_identifier(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfPatientIDQualifiersSequence")), None)
    issued = issuer(designator, None)
    local = first(dataset, "IssuerOfPatientID")
    if local:
        issued["assigner"] = {"display": local}
    return identifier(first(dataset, "PatientID"), ("MR", "Medical record number"), issued)


def visit(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfAdmissionIDSequence")), None)
    number = identifier(first(dataset, "AdmissionID"), ("VN", "Visit number"), issuer(designator, None))
    return {"type": "Encounter", "identifier": number} if number else None


def uid_identifier(uid: str) -> dict:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def procedure(dataset: Dataset) -> dict | None:
    """The performed procedure step, if the file refers to exactly one."""
    uids = {first(step, "ReferencedSOPInstanceUID") for step in items(dataset, "ReferencedPerformedProcedureStepSequence")} - {None}
    if len(uids) != 1:
        return None
    return without_empty({
        "type": "Procedure",
        "identifier": uid_identifier(uids.pop()),
        "display": first(dataset, "PerformedProcedureStepDescription"),
    })


def location(dataset: Dataset) -> dict | None:
    place = first(dataset, "InstitutionalDepartmentName") or first(dataset, "CurrentPatientLocation")
    parts = [part for part in (place, first(dataset, "InstitutionName")) if part]
    return {"type": "Location", "display": ", ".join(parts)} if parts else None


def specimens(dataset: Dataset) -> list[dict]:
    found = []
    for item in items(dataset, "SpecimenDescriptionSequence"):
        designator = next(iter(items(item, "IssuerOfTheSpecimenIdentifierSequence")), None)
        number = identifier(first(item, "SpecimenIdentifier"), None, issuer(designator, None))
        uid = first(item, "SpecimenUID")
        kinds = [first(code, "CodeMeaning") for code in items(item, "SpecimenTypeCodeSequence")]
        specimen = without_empty({
            "identifier": number or (uid_identifier(uid) if uid else None),
            "display": first(item, "SpecimenShortDescription") or next(filter(None, kinds), None),
        })
        if specimen:
            found.append({"type": "Specimen", **specimen})
    return found


def equipment(dataset: Dataset) -> list[dict]:
    """The device as an actor, with its serial number and a description."""
    maker = first(dataset, "Manufacturer")
    kind = " ".join(part for part in (maker, first(dataset, "ManufacturerModelName")) if part)
    station = first(dataset, "StationName")
    serial = identifier(first(dataset, "DeviceSerialNumber"), ("SNO", "Serial Number"), {"system": None, "assigner": {"display": maker} if maker else None})
    device = without_empty({"identifier": serial, "display": f"{kind} ({station})" if kind and station else kind or station})
    return [{"actor": {"type": "Device", **device}}] if device else []


def notes(dataset: Dataset) -> list[str]:
    """The comments in one file: on its study, then on its procedure step."""
    texts = [clean(text) for keyword in ("StudyComments", "CommentsOnThePerformedProcedureStep") for text in values(dataset, keyword)]
    return [text for text in texts if text]


# The three levels

def of_study(dataset: Dataset) -> dict:
    """The elements of an ImagingStudy by one file."""
    study_id = first(dataset, "StudyID")
    referrers = people(dataset, "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence")
    return {
        "accession": accession(dataset),
        "study id": {"use": "secondary", "value": study_id} if study_id else None,
        "started": moment(dataset, "StudyDate", "StudyTime"),
        "description": first(dataset, "StudyDescription"),
        "subject identifier": patient_identifier(dataset),
        "subject display": next((display(name) for name in values(dataset, "PatientName")), None),
        "referrer": referrers[0] if referrers else None,
        "interpreter": people(dataset, "NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence"),
        "procedureCode": concepts(dataset, "ProcedureCodeSequence"),
        "encounter": visit(dataset),
        "procedureReference": procedure(dataset),
        "location": location(dataset),
    }


def body_site(dataset: Dataset) -> dict | None:
    for region in items(dataset, "AnatomicRegionSequence"):
        code = coding(region)
        meaning = first(region, "CodeMeaning")
        if code or meaning:
            return code or {"display": meaning}
    term = first(dataset, "BodyPartExamined")
    if term is None:
        return None
    code = BODY_PARTS.get(term.upper())
    return {"system": SNOMED_CT, "code": code} if code else {"display": term}


def laterality(dataset: Dataset) -> dict | None:
    term = first(dataset, "Laterality") or first(dataset, "ImageLaterality")
    if term is None:
        return None
    code = LATERALITIES.get(term.upper())
    return {"system": SNOMED_CT, "code": code} if code else {"display": term}


def performers(dataset: Dataset) -> list[dict]:
    found = []
    for keyword, identification, code, name in (
        ("PerformingPhysicianName", "PerformingPhysicianIdentificationSequence", "PRF", "performer"),
        ("OperatorsName", "OperatorIdentificationSequence", "SPRF", "secondary performer"),
    ):
        function = {"coding": [{"system": PARTICIPATION, "code": code, "display": name}]}
        found += [{"function": function, "actor": person} for person in people(dataset, keyword, identification)]
    return found + equipment(dataset)


def of_series(dataset: Dataset) -> dict:
    """The elements of a series by one file."""
    return {
        "number": number(dataset, "SeriesNumber"),
        "modality": modality(dataset) or ABSENT,
        "description": first(dataset, "SeriesDescription"),
        "bodySite": body_site(dataset),
        "laterality": laterality(dataset),
        "started": moment(dataset, "SeriesDate", "SeriesTime")
        or moment(dataset, "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        "performer": performers(dataset),
    }


def of_instance(dataset: Dataset) -> dict:
    titles = [first(item, "CodeMeaning") for item in items(dataset, "ConceptNameCodeSequence")[:1]]
    titles += [first(dataset, "ContentLabel"), first(dataset, "DocumentTitle")]
    # Empty values of Image Type are omitted from the title.
    parts = [clean(part) for part in values(dataset, "ImageType")]
    titles += ["\\".join(part for part in parts if part)]
    return without_empty({
        "uid": str(dataset.SOPInstanceUID),
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{dataset.SOPClassUID}"},
        "number": number(dataset, "InstanceNumber"),
        "title": next((title for title in titles if title), None),
    })


def of_patient(dataset: Dataset) -> dict:
    """The elements of a Patient by one file."""
    sex, born = first(dataset, "PatientSex"), day(first(dataset, "PatientBirthDate"))
    return {
        "name": human_names(dataset),
        "gender": GENDERS.get(sex, "unknown") if sex else None,
        "birthDate": born.isoformat() if born else None,
    }
