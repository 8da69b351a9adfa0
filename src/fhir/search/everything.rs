//! `Patient/{id}/$everything` (R4 operation-patient-everything): the Patient, the patient's ImagingStudies, and the Endpoints of
//! these studies. The Patient has no `meta.lastUpdated` here, so `_since` never excludes it.

use std::collections::HashSet;

use super::include::find_referenced;
use super::page::{InterpretedParameters, Pages};
use super::search_match::{SearchMatch, SortOrder};
use super::types::NamedType;
use super::{compartment, warn_about_omitted_studies, write_page};
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use fhir_r4::search::{Criterion, ReferenceElement, ResourceType, Search, printable_name};
use fhir_r4::types::ImagingStudy;

/// A parameter of the operation, the search parameter that it is converted to, and the prefix of the value.
type OperationParameter = (&'static str, &'static str, &'static str);

/// The parameters of the operation that restrict the studies. An unknown parameter is rejected, because the result would not have
/// the restriction that the client requested.
const CRITERIA: [OperationParameter; 3] =
    [("start", "started", "ge"), ("end", "started", "le"), ("_since", "_lastUpdated", "ge")];

/// Returns a page of the result, sorted by type and id.
pub(in crate::fhir) async fn read_everything(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    id: &str,
) -> Result<EncodedResource, Failure> {
    let patient = compartment::find_patient(context, request, access, id).await?;
    let parsed = parse(request)?;
    let mut search: Search<ImagingStudy> = parsed.request.parse_search(context)?;
    search.criteria.push(Criterion::of_patient(&patient.resource.id));
    let parameters = InterpretedParameters {
        applied: &parsed.applied,
        ignored: &parsed.ignored,
        ..InterpretedParameters::from(&search)
    };
    let mut pages = Pages::new(&context.link_key, request, &format!("Patient/{id}/$everything"), parameters);
    let mut matches = vec![SearchMatch::Patient(Box::new(patient))];
    if parsed.is_requested(ResourceType::ImagingStudy) || parsed.is_requested(ResourceType::Endpoint) {
        let studies = context.studies.search(&search.criteria, access, request.freshness()).await?;
        warn_about_omitted_studies(&mut pages, &studies);
        matches.extend(studies.studies.into_iter().map(SearchMatch::Study));
        let references = HashSet::from([ReferenceElement::Endpoint]);
        let endpoints = find_referenced(context, request, &references, &matches).await?;
        matches.extend(endpoints);
    }
    matches.retain(|search_match| parsed.is_requested(search_match.kind()));
    let order = SortOrder::default();
    let position = |search_match: &SearchMatch| {
        search_match.sort_position(context, &order).with_id(search_match.reference())
    };
    let matches = matches.into_iter().map(|search_match| (position(&search_match), search_match)).collect();
    write_page(context, request, access, pages, &search.result, matches, &order).await
}

/// A request for the operation, converted to a search for studies.
struct EverythingRequest<'a> {
    request: FhirRequest<'a>,
    /// The requested types, if not all.
    types: Option<Vec<ResourceType>>,
    /// The warnings about types that this server does not support.
    ignored: Vec<(String, String)>,
    /// The names and values of the parameters that were applied.
    applied: Vec<(String, String)>,
}

impl EverythingRequest<'_> {
    /// Whether `_type` requests the type, or is absent.
    fn is_requested(&self, kind: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&kind))
    }
}

/// Returns the search parameter that a parameter of the operation is converted to.
fn convert_parameter(name: &str, value: &str) -> Result<OperationParameter, Failure> {
    let Some(converted) = CRITERIA.into_iter().find(|(known, ..)| *known == name) else {
        let diagnostics = format!(
            "Parameter {}: not supported by $everything, which has start, end and _since (dates), _type and _count.",
            printable_name(name)
        );
        return Err(Failure::bad_request("not-supported", diagnostics));
    };
    if is_date_without_prefix(value) {
        return Ok(converted);
    }
    let diagnostics = format!("Parameter {name}: expected a date or dateTime without a prefix.");
    Err(Failure::bad_request("value", diagnostics).with_expression(format!("http.{name}")))
}

/// Parses the parameters of the operation.
fn parse<'a>(request: &FhirRequest<'a>) -> Result<EverythingRequest<'a>, Failure> {
    let mut parsed = EverythingRequest {
        request: request.with_parameters(|_| false),
        types: None,
        ignored: Vec::new(),
        applied: Vec::new(),
    };
    for (name, value) in request.pairs.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "_count" | "_cursor" | "_format" | "_pretty" => {
                parsed.request.pairs.push((name.clone(), value.clone()));
            }
            "_type" => {
                let types = parsed.types.get_or_insert_default();
                for name in value.split(',').map(str::trim) {
                    match NamedType::parse(name, &ResourceType::ALL)? {
                        NamedType::Supported(kind) => types.push(kind),
                        NamedType::Unsupported(warning) => parsed.ignored.push(warning),
                    }
                }
            }
            _ => {
                let (_, parameter, prefix) = convert_parameter(name, value)?;
                parsed.request.pairs.push((parameter.to_owned(), format!("{prefix}{value}")));
            }
        }
        if !matches!(name.as_str(), "_format" | "_pretty") {
            parsed.applied.push((name.clone(), value.clone()));
        }
    }
    Ok(parsed)
}

/// Whether the value has no prefix and no alternatives.
fn is_date_without_prefix(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_digit()) && !value.contains(',')
}
