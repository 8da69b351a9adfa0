//! The names of the root elements of the served resource types (R4 resource.html, domainresource.html, endpoint.html,
//! imagingstudy.html, patient.html). This module does not know which elements the gateway fills.

/// The elements that all types have.
const COMMON_ELEMENTS: [&str; 9] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
];

const ENDPOINT_ELEMENTS: [&str; 11] = [
    "identifier",
    "status",
    "connectionType",
    "name",
    "managingOrganization",
    "contact",
    "period",
    "payloadType",
    "payloadMimeType",
    "address",
    "header",
];

const IMAGING_STUDY_ELEMENTS: [&str; 20] = [
    "identifier",
    "status",
    "modality",
    "subject",
    "encounter",
    "started",
    "basedOn",
    "referrer",
    "interpreter",
    "endpoint",
    "numberOfSeries",
    "numberOfInstances",
    "procedureReference",
    "procedureCode",
    "location",
    "reasonCode",
    "reasonReference",
    "note",
    "description",
    "series",
];

/// An element with a choice of types occurs with each name: `deceased`, as in its definition, and `deceasedBoolean`, as in JSON.
const PATIENT_ELEMENTS: [&str; 20] = [
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "deceased",
    "deceasedBoolean",
    "deceasedDateTime",
    "address",
    "maritalStatus",
    "multipleBirth",
    "multipleBirthBoolean",
    "multipleBirthInteger",
    "photo",
    "contact",
    "communication",
    "generalPractitioner",
    "managingOrganization",
    "link",
];

/// Whether a served resource type has the root element `name`.
pub fn is_root_element(name: &str) -> bool {
    let lists: [&[&str]; 4] =
        [&COMMON_ELEMENTS, &ENDPOINT_ELEMENTS, &IMAGING_STUDY_ELEMENTS, &PATIENT_ELEMENTS];
    lists.iter().any(|list| list.contains(&name))
}
