//! What the server says of itself (R4 capabilitystatement.html), printed from the tables that parse.

use super::FhirRequest;
use crate::cache::Rendered;
use crate::error::Failure;
use crate::fhir::search::{Edge, Parameter, ResourceType, Searched};
use crate::fhir::types::{
    CapabilityStatement, Endpoint, ImagingStudy, Implementation, Interaction, Patient, Resource, Rest,
    SearchParam, Security, Software,
};

/// When what is said here last changed.
const DATE: &str = "2026-11-24";

pub(super) fn statement(request: &FhirRequest<'_>) -> Result<Rendered, Failure> {
    let statement = CapabilityStatement {
        status: "active",
        date: DATE,
        kind: "instance",
        software: Software { name: "dicomweb-gateway", version: env!("CARGO_PKG_VERSION") },
        implementation: Implementation {
            description: "Imaging studies of DICOMweb archives as FHIR R4 resources, read-only",
            url: request.base(),
        },
        fhir_version: "4.0.1",
        format: vec!["application/fhir+json", "json"],
        rest: vec![Rest {
            mode: "server",
            security: Security {
                description: "Open: whoever can reach this server may see everything. The network in front of it decides \
                              who that is.",
            },
            resource: vec![
                resource::<Endpoint>(
                    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-wado-endpoint",
                    "One for each archive: the root of its DICOMweb services at this gateway.",
                ),
                resource::<ImagingStudy>(
                    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-imaging-study",
                    "A study of an archive. Its id is the Study Instance UID. A search finds every match or fails; \
                     Bundle.total is left out where studies had to be.",
                ),
                resource::<Patient>(
                    "",
                    "A patient as the archives' studies tell of one. Its id is a hash of the patient's identifier.",
                ),
            ],
        }],
    };
    serde_json::to_vec(&statement).map(Rendered::new).map_err(|_| Failure::internal())
}

fn resource<R: Searched>(profile: &'static str, documentation: &'static str) -> Resource {
    let has_references = R::TYPE == ResourceType::ImagingStudy;
    Resource {
        kind: R::TYPE.name(),
        supported_profile: Some(profile).filter(|profile| !profile.is_empty()).into_iter().collect(),
        documentation,
        interaction: ["read", "vread", "search-type"].map(|code| Interaction { code }).to_vec(),
        // R4 versioning-policy: a version id is there, and vread answers the current version; no other is kept.
        versioning: "versioned",
        read_history: false,
        conditional_read: "full-support",
        reference_policy: if has_references { vec!["literal", "logical", "local"] } else { Vec::new() },
        search_include: Edge::includes_of(R::TYPE),
        search_rev_include: Edge::reverse_includes_of(R::TYPE),
        search_param: Parameter::<R>::all().map(search_param).collect(),
    }
}

fn search_param<C>(parameter: &Parameter<C>) -> SearchParam {
    SearchParam {
        name: parameter.name,
        definition: parameter.definition,
        kind: parameter.kind.code(),
        documentation: parameter.documentation(),
    }
}
