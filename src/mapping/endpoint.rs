//! Endpoint (R4 endpoint.html): where an archive's objects can be retrieved.

use std::borrow::Cow;

use super::profiles::{Guide, profiles_of};
use super::{MappingContext, coding};
use fhir_r4::types::{CodeableConcept, Coding, Element, Endpoint, Extension, to_fhir_string};

const REQUIRES_ACCESS_TOKEN: &str =
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token";
const CONNECTION_TYPE: &str = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type";
const PAYLOAD_TYPE: &str = "http://terminology.hl7.org/CodeSystem/endpoint-payload-type";

/// The status of an Endpoint (R4 valueset-endpoint-status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStatus {
    /// The archive responds, as far as is known.
    Active,
    /// The archive fails.
    Error,
}

impl EndpointStatus {
    fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Error => "error",
        }
    }
}

/// Creates the Endpoint of the archive. `address` is the root URL of its WADO-RS services, without a trailing slash.
pub fn endpoint(
    context: &MappingContext,
    name: &str,
    status: EndpointStatus,
    address: String,
    requires_access_token: bool,
) -> Endpoint {
    let mut extension = Vec::new();
    if context.follows(Guide::SmartImagingAccess) {
        extension.push(Extension::boolean(REQUIRES_ACCESS_TOKEN, requires_access_token));
    }
    let payload = if context.follows(Guide::IheImr) {
        Coding::new(coding::DCM, "113014", Some(Cow::Borrowed("Study")))
    } else {
        Coding::new(PAYLOAD_TYPE, "any", Some(Cow::Borrowed("Any")))
    };
    let mut endpoint = Endpoint {
        id: context.archive.clone(),
        element: Element::with(extension),
        status: status.code().into(),
        connection_type: Coding::new(CONNECTION_TYPE, "dicom-wado-rs", Some(Cow::Borrowed("DICOM WADO-RS"))),
        name: to_fhir_string(name),
        payload_type: vec![CodeableConcept::from_codings(vec![payload])],
        payload_mime_type: vec!["application/dicom".into()],
        address,
        ..Endpoint::default()
    };
    endpoint.meta.profile = profiles_of(&context.guides, &endpoint);
    endpoint.text = context.narrative_of(&endpoint);
    endpoint
}
