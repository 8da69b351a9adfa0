"""A second implementation of the mapping, which computes the expected FHIR elements from files that pydicom reads.

It implements the standards (PS3.3, PS3.5, PS3.16, R4 imagingstudy-mappings) and contains no code of the gateway. It maps each file
separately; if the files of a study differ, the tests accept the value of any file.
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

# SNOMED RT codes in the files, with the SNOMED CT codes of PS3.16 Annex L.
SNOMED_RT_TO_CT = {"T-D9200": "72696002"}

# The terms in the files, with the SNOMED CT codes of PS3.16 Annex L.
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
    """Returns a valid FHIR string, without control characters and without leading and trailing spaces; None if nothing remains."""
    if value is None:
        return None
    cleaned = "".join(character for character in str(value).strip(" \0") if ord(character) >= 32 and ord(character) != 127 and not 128 <= ord(character) < 160 or character in "\n\r\t")
    return cleaned.strip() or None


def values(dataset: Dataset, keyword: str) -> list:
    """Returns every value of an element; an empty list if the element is missing or unreadable."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, NotImplementedError):
        return []
    if value is None:
        return []
    if isinstance(value, (pydicom.multival.MultiValue, pydicom.sequence.Sequence, list, tuple)):
        return list(value)
    return [value]


def first_value(dataset: Dataset, keyword: str) -> str | None:
    texts = values(dataset, keyword)
    return clean(texts[0]) if texts else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return [item for item in values(dataset, keyword) if isinstance(item, Dataset)]


def number(dataset: Dataset, keyword: str) -> int | None:
    text = first_value(dataset, keyword)
    if text is None or not re.fullmatch(r"[+-]?\d+(\.0*)?", text):
        return None
    value = int(float(text))
    return value if 0 <= value < 2**31 else None


def without_empty(members: dict) -> dict:
    return {key: value for key, value in members.items() if value not in (None, [], {})}


# Dates and times

def parse_date(text: str | None) -> datetime.date | None:
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)", text or "")
    if not match:
        return None
    try:
        return datetime.date(*(int(part) for part in match.groups() if part))
    except ValueError:
        return None


def date_time(dataset: Dataset, date_keyword: str, time_keyword: str) -> str | None:
    """Returns a dateTime; only its date if the file has no time zone offset, because FHIR requires an offset with a time."""
    date = parse_date(first_value(dataset, date_keyword))
    if date is None:
        return None
    time = re.fullmatch(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?", first_value(dataset, time_keyword) or "")
    offset = re.fullmatch(r"([+-])(\d\d)(\d\d)", first_value(dataset, "TimezoneOffsetFromUTC") or "")
    if not time or not offset:
        return date.isoformat()
    hour, minute, second, fraction = time.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return date.isoformat()
    zone = f"{offset[1]}{offset[2]}:{offset[3]}"
    zone = "Z" if zone in ("+00:00", "-00:00") else zone
    return f"{date}T{hour}:{minute}:{second or '00'}{'.' + fraction if fraction else ''}{zone}"


# Codes

def coding(item: Dataset) -> dict | None:
    code = first_value(item, "CodeValue") or first_value(item, "LongCodeValue") or first_value(item, "URNCodeValue")
    designator = first_value(item, "CodingSchemeDesignator")
    if designator in SNOMED_RT and code in SNOMED_RT_TO_CT:
        return without_empty({"system": SNOMED_CT, "code": SNOMED_RT_TO_CT[code], "display": first_value(item, "CodeMeaning")})
    if not code or not designator or designator in SNOMED_RT:
        return None
    scheme_uid = first_value(item, "CodingSchemeUID")
    system = SCHEMES.get(designator) or (f"urn:oid:{scheme_uid}" if scheme_uid else None)
    if not system or (system == SNOMED_CT and not code.isdigit()):
        return None
    return without_empty({"system": system, "code": code, "display": first_value(item, "CodeMeaning")})


def concept(item: Dataset) -> dict | None:
    code, meaning = coding(item), first_value(item, "CodeMeaning")
    text = meaning or (None if code else first_value(item, "CodeValue"))
    return without_empty({"coding": [code] if code else [], "text": text}) or None


def concepts(dataset: Dataset, keyword: str) -> list[dict]:
    return list(filter(None, map(concept, items(dataset, keyword))))


def modality(dataset: Dataset) -> dict | None:
    code = first_value(dataset, "Modality")
    return {"system": DCM, "code": code.upper()} if code else None


# People

def component_groups(name: object) -> list[dict]:
    """Returns the components of the alphabetic, ideographic and phonetic representations, which may be empty."""
    groups = []
    for group in (str(name).split("=") + ["", "", ""])[:3]:
        parts = [clean(part) for part in (group.split("^") + [""] * 5)[:5]]
        groups.append(dict(zip(("family", "given", "middle", "prefix", "suffix"), parts)))
    return groups


def name_text(group: dict, representation: str = "ABC") -> str | None:
    """Returns a name as text. The family name is first in the ideographic and phonetic representations."""
    order = ("prefix", "given", "middle", "family", "suffix") if representation == "ABC" else ("prefix", "family", "given", "middle", "suffix")
    return " ".join(group[part] for part in order if group[part]) or None


def display(name: object) -> str | None:
    return next((text for text in map(name_text, component_groups(name), ("ABC", "IDE", "SYL")) if text), None)


def human_names(dataset: Dataset) -> list[dict]:
    human_names = []
    for name in values(dataset, "PatientName"):
        groups = component_groups(name)
        is_alphabetic_only = not any(name_text(group) for group in groups[1:])
        for group, representation, use in zip(groups, ("ABC", "IDE", "SYL"), ("usual", None, None)):
            if name_text(group):
                human_names.append(without_empty({
                    "extension": [] if is_alphabetic_only else [{"url": REPRESENTATION, "valueCode": representation}],
                    "use": use,
                    "text": name_text(group, representation),
                    "family": group["family"],
                    "given": [part for part in (group["given"], group["middle"]) if part],
                    "prefix": [group["prefix"]] if group["prefix"] else [],
                    "suffix": [group["suffix"]] if group["suffix"] else [],
                }))
    return human_names


def people(dataset: Dataset, keyword: str, identification_keyword: str) -> list[dict]:
    identifications = items(dataset, identification_keyword)
    references = []
    for position, name in enumerate(values(dataset, keyword)):
        identifier = None
        if position < len(identifications):
            for code in items(identifications[position], "PersonIdentificationCodeSequence")[:1]:
                system = SCHEMES.get(first_value(code, "CodingSchemeDesignator") or "")
                identifier = without_empty({"system": system, "value": first_value(code, "CodeValue")})
        references.append(without_empty({"identifier": identifier, "display": display(name)}))
    return [{"type": "Practitioner", **reference} for reference in references if reference]


# Identifiers

def issuer(designator: Dataset | None, name: str | None) -> dict:
    """Returns the system and the assigner of an identifier by the HL7v2 Hierarchic Designator Macro."""
    system = None
    if designator is not None:
        name = first_value(designator, "LocalNamespaceEntityID") or name
        universal_id, id_type = first_value(designator, "UniversalEntityID"), first_value(designator, "UniversalEntityIDType")
        if universal_id and id_type:
            system = {"ISO": f"urn:oid:{universal_id}", "UUID": f"urn:uuid:{universal_id.lower()}", "URI": universal_id}.get(id_type.upper())
    return {"system": system, "assigner": {"display": name} if name else None}


def identifier(value: str | None, type_code: tuple[str, str] | None, issuer: dict) -> dict | None:
    if not value:
        return None
    identifier_type = {"coding": [{"system": V2_0203, "code": type_code[0], "display": type_code[1]}]} if type_code else None
    return without_empty({"type": identifier_type, "system": issuer["system"], "value": value, "assigner": issuer["assigner"]})


def accession(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfAccessionNumberSequence")), None)
    return identifier(first_value(dataset, "AccessionNumber"), ("ACSN", "Accession ID"), issuer(designator, None))


def order_identifiers(dataset: Dataset) -> list[dict | None]:
    """Returns the identifiers in the request sequences of a file."""
    identifiers = []
    for request in items(dataset, "ReferencedRequestSequence") + items(dataset, "RequestAttributesSequence"):
        identifiers.append(accession(request))
        for keyword, type_code, issuer_keyword in (
            ("PlacerOrderNumberImagingServiceRequest", ("PLAC", "Placer Identifier"), "OrderPlacerIdentifierSequence"),
            ("FillerOrderNumberImagingServiceRequest", ("FILL", "Filler Identifier"), "OrderFillerIdentifierSequence"),
        ):
            designator = next(iter(items(request, issuer_keyword)), None)
            identifiers.append(identifier(first_value(request, keyword), type_code, issuer(designator, None)))
    return identifiers


def orders(dataset: Dataset, series: list[Dataset]) -> list[dict]:
    """Returns the orders in one file of a study, and in one file of each of its series, without duplicates."""
    identifiers = [accession(dataset), *order_identifiers(dataset)]
    for series_dataset in series:
        identifiers += order_identifiers(series_dataset)
    distinct: list[dict] = []
    for order in filter(None, identifiers):
        # An identifier without an issuer is the same order as an earlier identifier with the same type and value.
        if not any(order == known or ("system" not in order and order["value"] == known["value"] and order["type"] == known["type"]) for known in distinct):
            distinct.append(order)
    return [{"type": "ServiceRequest", "identifier": order} for order in distinct]


def patient_identifier(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfPatientIDQualifiersSequence")), None)
    patient_id_issuer = issuer(designator, None)
    issuer_name = first_value(dataset, "IssuerOfPatientID")
    if issuer_name:
        patient_id_issuer["assigner"] = {"display": issuer_name}
    return identifier(first_value(dataset, "PatientID"), ("MR", "Medical record number"), patient_id_issuer)


def visit(dataset: Dataset) -> dict | None:
    designator = next(iter(items(dataset, "IssuerOfAdmissionIDSequence")), None)
    visit_number = identifier(first_value(dataset, "AdmissionID"), ("VN", "Visit number"), issuer(designator, None))
    return {"type": "Encounter", "identifier": visit_number} if visit_number else None


def uid_identifier(uid: str) -> dict:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def procedure(dataset: Dataset) -> dict | None:
    """Returns the performed procedure step; None if the file does not refer to exactly one."""
    uids = {first_value(step, "ReferencedSOPInstanceUID") for step in items(dataset, "ReferencedPerformedProcedureStepSequence")} - {None}
    if len(uids) != 1:
        return None
    return without_empty({
        "type": "Procedure",
        "identifier": uid_identifier(uids.pop()),
        "display": first_value(dataset, "PerformedProcedureStepDescription"),
    })


def location(dataset: Dataset) -> dict | None:
    department = first_value(dataset, "InstitutionalDepartmentName") or first_value(dataset, "CurrentPatientLocation")
    parts = [part for part in (department, first_value(dataset, "InstitutionName")) if part]
    return {"type": "Location", "display": ", ".join(parts)} if parts else None


def specimens(dataset: Dataset) -> list[dict]:
    references = []
    for item in items(dataset, "SpecimenDescriptionSequence"):
        designator = next(iter(items(item, "IssuerOfTheSpecimenIdentifierSequence")), None)
        specimen_identifier = identifier(first_value(item, "SpecimenIdentifier"), None, issuer(designator, None))
        uid = first_value(item, "SpecimenUID")
        types = [first_value(code, "CodeMeaning") for code in items(item, "SpecimenTypeCodeSequence")]
        specimen = without_empty({
            "identifier": specimen_identifier or (uid_identifier(uid) if uid else None),
            "display": first_value(item, "SpecimenShortDescription") or next(filter(None, types), None),
        })
        if specimen:
            references.append({"type": "Specimen", **specimen})
    return references


def equipment(dataset: Dataset) -> list[dict]:
    """Returns the device as a performer, with its serial number and a description."""
    manufacturer = first_value(dataset, "Manufacturer")
    model = " ".join(part for part in (manufacturer, first_value(dataset, "ManufacturerModelName")) if part)
    station = first_value(dataset, "StationName")
    serial = identifier(first_value(dataset, "DeviceSerialNumber"), ("SNO", "Serial Number"), {"system": None, "assigner": {"display": manufacturer} if manufacturer else None})
    device = without_empty({"identifier": serial, "display": f"{model} ({station})" if model and station else model or station})
    return [{"actor": {"type": "Device", **device}}] if device else []


def notes(dataset: Dataset) -> list[str]:
    """Returns the comments of a file on its study, and then those on its procedure step."""
    texts = [clean(text) for keyword in ("StudyComments", "CommentsOnThePerformedProcedureStep") for text in values(dataset, keyword)]
    return [text for text in texts if text]


# Studies, series, instances and patients

def study_elements(dataset: Dataset) -> dict:
    """Returns the elements of an ImagingStudy that one file determines."""
    study_id = first_value(dataset, "StudyID")
    referrers = people(dataset, "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence")
    return {
        "accession": accession(dataset),
        "study id": {"use": "secondary", "value": study_id} if study_id else None,
        "started": date_time(dataset, "StudyDate", "StudyTime"),
        "description": first_value(dataset, "StudyDescription"),
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
        meaning = first_value(region, "CodeMeaning")
        if code or meaning:
            return code or {"display": meaning}
    term = first_value(dataset, "BodyPartExamined")
    if term is None:
        return None
    code = BODY_PARTS.get(term.upper())
    return {"system": SNOMED_CT, "code": code} if code else {"display": term}


def laterality(dataset: Dataset) -> dict | None:
    term = first_value(dataset, "Laterality") or first_value(dataset, "ImageLaterality")
    if term is None:
        return None
    code = LATERALITIES.get(term.upper())
    return {"system": SNOMED_CT, "code": code} if code else {"display": term}


def performers(dataset: Dataset) -> list[dict]:
    performers = []
    for keyword, identification_keyword, code, display in (
        ("PerformingPhysicianName", "PerformingPhysicianIdentificationSequence", "PRF", "performer"),
        ("OperatorsName", "OperatorIdentificationSequence", "SPRF", "secondary performer"),
    ):
        function = {"coding": [{"system": PARTICIPATION, "code": code, "display": display}]}
        performers += [{"function": function, "actor": person} for person in people(dataset, keyword, identification_keyword)]
    return performers + equipment(dataset)


def series_elements(dataset: Dataset) -> dict:
    """Returns the elements of a series that one file determines."""
    return {
        "number": number(dataset, "SeriesNumber"),
        "modality": modality(dataset) or ABSENT,
        "description": first_value(dataset, "SeriesDescription"),
        "bodySite": body_site(dataset),
        "laterality": laterality(dataset),
        "started": date_time(dataset, "SeriesDate", "SeriesTime")
        or date_time(dataset, "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        "performer": performers(dataset),
    }


def instance_element(dataset: Dataset) -> dict:
    titles = [first_value(item, "CodeMeaning") for item in items(dataset, "ConceptNameCodeSequence")[:1]]
    titles += [first_value(dataset, "ContentLabel"), first_value(dataset, "DocumentTitle")]
    # Empty values of Image Type are omitted from the title.
    parts = [clean(part) for part in values(dataset, "ImageType")]
    titles += ["\\".join(part for part in parts if part)]
    return without_empty({
        "uid": str(dataset.SOPInstanceUID),
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{dataset.SOPClassUID}"},
        "number": number(dataset, "InstanceNumber"),
        "title": next((title for title in titles if title), None),
    })


def patient_elements(dataset: Dataset) -> dict:
    """Returns the elements of a Patient that one file determines."""
    sex, birth_date = first_value(dataset, "PatientSex"), parse_date(first_value(dataset, "PatientBirthDate"))
    return {
        "name": human_names(dataset),
        "gender": GENDERS.get(sex, "unknown") if sex else None,
        "birthDate": birth_date.isoformat() if birth_date else None,
    }
