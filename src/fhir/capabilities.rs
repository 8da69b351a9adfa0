//! The CapabilityStatement (R4 capabilitystatement.html), generated from the tables that the search parser uses.

use std::collections::BTreeSet;

use super::FhirRequest;
use crate::build_info;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::mapping::{self, Guide, Profiled};
use fhir_r4::search::{Edge, Parameter, ResourceType, Searched};
use fhir_r4::types::{
    CapabilityStatement, Endpoint, ImagingStudy, Implementation, Operation, Patient, Resource,
    ResourceInteraction, Rest, SearchParam, Security, Software,
};

pub(super) fn statement(
    guides: &BTreeSet<Guide>,
    request: &FhirRequest<'_>,
) -> Result<EncodedResource, Failure> {
    let statement = CapabilityStatement {
        status: "active",
        date: build_info::STATEMENT_DATE,
        kind: "instance",
        software: Software { name: "dicomweb-gateway", version: build_info::VERSION },
        implementation: Implementation {
            description: "Imaging studies of DICOMweb archives as FHIR R4 resources, read-only",
            url: request.base(),
        },
        fhir_version: "4.0.1",
        format: vec!["application/fhir+json", "json", "application/fhir+xml", "xml"],
        rest: vec![Rest {
            mode: "server",
            security: Security {
                description: "Open: this server has no access control. Anyone who can reach it can read every patient's \
                              data; the network in front of it must restrict access.",
            },
            resource: vec![
                resource::<Endpoint>(
                    guides,
                    "One per archive: the root URL of its DICOMweb services at this gateway.",
                ),
                resource::<ImagingStudy>(
                    guides,
                    "A study of an archive. Its id is the Study Instance UID. A search finds every match or fails; \
                     Bundle.total is omitted if studies had to be omitted.",
                ),
                resource::<Patient>(
                    guides,
                    "A patient as described by the studies in the archives. Its id is a hash of the patient's identifier.",
                ),
            ],
            interaction: vec![
                ResourceInteraction { code: "batch" },
                ResourceInteraction { code: "search-system" },
            ],
            search_param: of_all_types(),
            compartment: vec!["http://hl7.org/fhir/CompartmentDefinition/patient"],
        }],
    };
    serde_json::to_vec(&statement).map(EncodedResource::new).map_err(|_| Failure::internal())
}

/// The parameters of all resources, with the documentation of Patient's table; ImagingStudy and Endpoint document their own.
fn of_all_types() -> Vec<SearchParam> {
    let of_type = SearchParam {
        name: "_type",
        definition: None,
        kind: "special",
        documentation: "The resource types to search, comma-separated. Default: all of them.".to_owned(),
    };
    let common = Patient::COMMON.iter().map(search_param);
    common.chain(std::iter::once(of_type)).collect()
}

const EVERYTHING: Operation = Operation {
    name: "everything",
    definition: "http://hl7.org/fhir/OperationDefinition/Patient-everything",
    documentation: "By GET or by POST of Parameters in JSON: the Patient, the patient's ImagingStudies, and the Endpoints of \
                    these, in pages, sorted by type and id. Parameters: start, end, _since, _type and _count.",
};

fn resource<R: Searched + Profiled>(guides: &BTreeSet<Guide>, documentation: &'static str) -> Resource {
    let has_references = R::TYPE == ResourceType::ImagingStudy;
    Resource {
        kind: R::TYPE.name(),
        supported_profile: mapping::supported_profiles::<R>(guides),
        documentation,
        interaction: ["read", "vread", "search-type"].map(|code| ResourceInteraction { code }).to_vec(),
        // R4 versioning-policy: resources have a version id, and vread returns the current version only.
        versioning: "versioned",
        read_history: false,
        conditional_read: "full-support",
        reference_policy: if has_references { vec!["literal", "logical", "local"] } else { Vec::new() },
        search_include: Edge::includes_of(R::TYPE),
        search_rev_include: Edge::reverse_includes_of(R::TYPE),
        search_param: Parameter::<R>::all().map(search_param).collect(),
        operation: if R::TYPE == ResourceType::Patient { vec![EVERYTHING] } else { Vec::new() },
    }
}

fn search_param<R: Searched>(parameter: &Parameter<R>) -> SearchParam {
    SearchParam {
        name: parameter.name,
        definition: Some(parameter.definition),
        kind: parameter.kind.code(),
        documentation: parameter.documentation(),
    }
}
