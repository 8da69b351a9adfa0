//! The CapabilityStatement (R4 capabilitystatement.html), generated from the tables that the search parser uses.

use std::collections::BTreeSet;

use super::FhirRequest;
use crate::build_info;
use crate::config::SearchConfig;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::mapping::{self, Guide, HasProfiles};
use fhir_r4::search::{
    MAX_ALTERNATIVES, MAX_UID_ALTERNATIVES, Parameter, ReferenceElement, ResourceType, ResultParameters,
    Searchable,
};
use fhir_r4::types::{
    CapabilityStatement, Endpoint, ImagingStudy, Implementation, Operation, Patient, Resource,
    ResourceInteraction, Rest, SearchParam, Security, Software,
};

/// Builds the CapabilityStatement.
pub(super) fn capability_statement(
    context: &FhirContext,
    request: &FhirRequest<'_>,
) -> Result<EncodedResource, Failure> {
    let guides = &context.guides;
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
            documentation: describe_limits(&context.limits),
            security: Security {
                cors: context.cors,
                description: "Open: this server has no access control. Anyone who can reach it can read every patient's \
                              data; the network in front of it must restrict access.",
            },
            resource: vec![
                describe_resource::<Endpoint>(
                    guides,
                    "One per archive: the root URL of its DICOMweb services at this gateway.",
                ),
                describe_resource::<ImagingStudy>(
                    guides,
                    "A study of an archive. Its id is the Study Instance UID. A search finds every match or fails. \
                     What an archive describes incompletely is returned with the tag SUBSETTED, or omitted and not counted in \
                     Bundle.total; an OperationOutcome in the Bundle names the study, the archive and the cause. A study \
                     that is omitted because a series or an instance names another patient is counted: only reading the \
                     study shows it, and Bundle.total is the same on every page.",
                ),
                describe_resource::<Patient>(
                    guides,
                    "A patient as described by the studies in the archives. Its id is the encrypted identifier of the patient.",
                ),
            ],
            interaction: vec![
                ResourceInteraction { code: "batch" },
                ResourceInteraction { code: "search-system" },
            ],
            search_param: common_search_params(&context.limits),
            compartment: vec!["http://hl7.org/fhir/CompartmentDefinition/patient"],
        }],
    };
    serde_json::to_vec(&statement).map(EncodedResource::new).map_err(|_| Failure::internal())
}

/// Returns the search parameters of all resource types, with the documentation of Patient. Each resource type also documents its
/// parameters separately.
fn common_search_params(limits: &SearchConfig) -> Vec<SearchParam> {
    let to_search_param = |(name, documentation): (&'static str, String)| SearchParam {
        name,
        definition: None,
        kind: if name == "_count" { "number" } else { "special" },
        documentation,
    };
    let SearchConfig { default_count, max_count, sort_window, .. } = limits;
    let keys = [
        describe_sort_keys::<Endpoint>(),
        describe_sort_keys::<ImagingStudy>(),
        describe_sort_keys::<Patient>(),
    ]
    .join(" ");
    let server_params = [
        ("_type", "The resource types to search, comma-separated. Default: all of them.".to_owned()),
        (
            "_count",
            format!(
                "Matches per page: {default_count} by default, {max_count} at most; 0 is _summary=count."
            ),
        ),
        (
            "_sort",
            format!(
                "Comma-separated keys; - before a key is descending order. At most {sort_window} matches are sorted. {keys}"
            ),
        ),
        ("_format", "json, xml, html, or their media types; takes precedence over Accept.".to_owned()),
    ];
    let result_params =
        ResultParameters::value_descriptions().map(|(name, values)| (name, values.to_owned()));
    let common = Patient::COMMON_PARAMETERS.iter().map(describe_parameter);
    common.chain(server_params.into_iter().chain(result_params).map(to_search_param)).collect()
}

/// Describes the sort keys of a resource type.
fn describe_sort_keys<R: Searchable>() -> String {
    let names: Vec<_> = Parameter::<R>::sortable_parameters().map(|parameter| parameter.name).collect();
    format!("Keys of {}: {}.", R::TYPE, names.join(", "))
}

/// What happens if an archive fails, with `search.partial`.
const PARTIAL_BY_DEFAULT: &str = "a search returns the matches of the other archives, with an outcome that names the archive, and \
                                  without a total; with Prefer: handling=strict it is an error.";

/// What happens if an archive fails, without `search.partial`.
const PARTIAL_ON_REQUEST: &str = "a search is an error; with Prefer: handling=lenient it returns the matches of the other archives, \
                                  with an outcome that names the archive, and without a total.";

/// Describes the limits beyond which a request is an error.
fn describe_limits(limits: &SearchConfig) -> String {
    let SearchConfig { max_scan, sort_window, max_opened, max_included, max_batch, partial, .. } = limits;
    format!(
        "Limits: a search that needs a total or another order than by started reads at most {max_scan} studies of one archive and \
         sorts at most {sort_window} matches; of more studies, pages by started have no total, and may have fewer matches than \
         requested although a link to the next page follows. A search reads at most {max_opened} studies in full for criteria that archives cannot search by. At \
         most {max_included} resources are included in a page. A batch has at most {max_batch} entries. A search or batch beyond \
         a limit is an error (too-costly), never a shortened result. A value has at most {MAX_ALTERNATIVES} alternatives, or \
         {MAX_UID_ALTERNATIVES} that are UIDs; a URL has at most 48 KiB, and the body of a POST to _search 64 KiB. If an archive fails, {} A search by _lastUpdated always \
         requires every archive.",
        if *partial { PARTIAL_BY_DEFAULT } else { PARTIAL_ON_REQUEST }
    )
}

const EVERYTHING_OPERATION: Operation = Operation {
    name: "everything",
    definition: "http://hl7.org/fhir/OperationDefinition/Patient-everything",
    documentation: "By GET or by POST of Parameters in JSON: the Patient, the patient's ImagingStudies, and the Endpoints of \
                    these, in pages, sorted by type and id. Parameters: start, end, _since, _type and _count.",
};

/// Describes a resource type and its interactions.
fn describe_resource<R: Searchable + HasProfiles>(
    guides: &BTreeSet<Guide>,
    documentation: &'static str,
) -> Resource {
    let has_references = R::TYPE == ResourceType::ImagingStudy;
    Resource {
        kind: R::TYPE.name(),
        supported_profile: mapping::supported_profiles::<R>(guides),
        documentation,
        interaction: ["read", "vread", "history-instance", "search-type"]
            .map(|code| ResourceInteraction { code })
            .to_vec(),
        // R4 versioning-policy: resources have a version id, and vread and history return the current version only.
        versioning: "versioned",
        read_history: false,
        conditional_read: "full-support",
        reference_policy: if has_references { vec!["literal", "logical", "local"] } else { Vec::new() },
        search_include: ReferenceElement::includes_of(R::TYPE),
        search_rev_include: ReferenceElement::reverse_includes_of(R::TYPE),
        search_param: Parameter::<R>::all().map(describe_parameter).collect(),
        operation: if R::TYPE == ResourceType::Patient { vec![EVERYTHING_OPERATION] } else { Vec::new() },
    }
}

/// Describes a search parameter.
fn describe_parameter<R: Searchable>(parameter: &Parameter<R>) -> SearchParam {
    SearchParam {
        name: parameter.name,
        definition: Some(parameter.definition),
        kind: parameter.kind.code(),
        documentation: parameter.documentation(),
    }
}
