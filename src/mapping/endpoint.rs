//! Endpoint (R4 endpoint.html): where an archive's objects can be retrieved.

use std::borrow::Cow;

use crate::fhir::types::{CodeableConcept, Coding, Element, Endpoint, Extension, Meta, clean};

const PROFILE: &str = "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-wado-endpoint";
const REQUIRES_ACCESS_TOKEN: &str =
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token";
const CONNECTION_TYPE: &str = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type";
const PAYLOAD_TYPE: &str = "http://terminology.hl7.org/CodeSystem/endpoint-payload-type";

/// The Endpoint of the archive `id`, whose WADO-RS root is at `address`, without a slash at its end.
pub fn endpoint(id: &str, name: &str, address: String, requires_access_token: bool) -> Endpoint {
    Endpoint {
        id: id.to_owned(),
        meta: Meta { profile: vec![PROFILE.into()], ..Meta::default() },
        element: Element::with(vec![Extension::boolean(REQUIRES_ACCESS_TOKEN, requires_access_token)]),
        status: "active".into(),
        connection_type: Coding::new(CONNECTION_TYPE, "dicom-wado-rs", Some(Cow::Borrowed("DICOM WADO-RS"))),
        name: clean(name),
        payload_type: vec![CodeableConcept::of(vec![Coding::new(
            PAYLOAD_TYPE,
            "any",
            Some(Cow::Borrowed("Any")),
        )])],
        payload_mime_type: vec!["application/dicom".into()],
        address,
        ..Endpoint::default()
    }
}
