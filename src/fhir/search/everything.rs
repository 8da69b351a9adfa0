//! `Patient/{id}/$everything` (R4 operation-patient-everything): the Patient, their studies, and the Endpoints of those. A
//! Patient has no `meta.lastUpdated`, so `_since` never excludes it.

use std::collections::HashSet;

use super::include::referred;
use super::page::{InterpretedParameters, Pages};
use super::search_match::{SearchMatch, SortOrder};
use super::types::NamedType;
use super::{compartment, warn_of_omitted_studies, write_page};
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use fhir_r4::search::{Criterion, Edge, ResourceType, Search, shown};
use fhir_r4::types::ImagingStudy;

/// A parameter of the operation, the search parameter that it becomes, and its prefix.
type OperationParameter = (&'static str, &'static str, &'static str);

/// The parameters of the operation, and the study criteria that they become. An unknown parameter is rejected, because a client
/// that asks for changes since a time must not get an incomplete result.
const CRITERIA: [OperationParameter; 3] =
    [("start", "started", "ge"), ("end", "started", "le"), ("_since", "_lastUpdated", "ge")];

/// A page of the result, sorted by type and id.
pub(in crate::fhir) async fn everything(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    id: &str,
) -> Result<EncodedResource, Failure> {
    let patient = compartment::focus(context, request, access, id).await?;
    let parsed = parse(request)?;
    let mut search: Search<ImagingStudy> = parsed.request.search(&context.limits)?;
    search.criteria.push(Criterion::of_patient(id));
    let reading = InterpretedParameters {
        applied: &parsed.applied,
        ignored: &parsed.ignored,
        ..InterpretedParameters::from(&search)
    };
    let mut pages = Pages::new(&context.cursors, request, &format!("Patient/{id}/$everything"), reading);
    let mut found = vec![SearchMatch::Patient(Box::new(patient))];
    if parsed.wants(ResourceType::ImagingStudy) || parsed.wants(ResourceType::Endpoint) {
        let studies = context.studies.search(&search.criteria, access, request.freshness()).await?;
        warn_of_omitted_studies(&mut pages, &studies);
        found.extend(studies.studies.into_iter().map(SearchMatch::Study));
        found.extend(referred(context, request, &HashSet::from([Edge::StudyToEndpoint]), &found));
    }
    found.retain(|found| parsed.wants(found.kind()));
    let order = SortOrder::default();
    let position = |found: &SearchMatch| found.sort_position(context, &order).with_id(found.name());
    let found = found.into_iter().map(|found| (position(&found), found)).collect();
    write_page(context, request, access, pages, &search.result, found, &order).await
}

/// The request as a search for studies.
struct EverythingRequest<'a> {
    request: FhirRequest<'a>,
    types: Option<Vec<ResourceType>>,
    /// Types that this server does not support.
    ignored: Vec<(String, String)>,
    applied: Vec<(String, String)>,
}

impl EverythingRequest<'_> {
    fn wants(&self, kind: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&kind))
    }
}

/// How a parameter of the operation restricts the studies.
fn criterion(name: &str, value: &str) -> Result<OperationParameter, Failure> {
    let Some(criterion) = CRITERIA.into_iter().find(|(known, ..)| *known == name) else {
        let diagnostics = format!(
            "Parameter {}: not supported by $everything, which has start, end and _since (dates), _type and _count.",
            shown(name)
        );
        return Err(Failure::bad_request("not-supported", diagnostics));
    };
    if is_plain_date(value) {
        return Ok(criterion);
    }
    let diagnostics = format!("Parameter {name}: expected a date or dateTime without a prefix.");
    Err(Failure::bad_request("value", diagnostics).with_expression(format!("http.{name}")))
}

fn parse<'a>(request: &FhirRequest<'a>) -> Result<EverythingRequest<'a>, Failure> {
    let mut parsed = EverythingRequest {
        request: request.with(|_| false),
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
                    match NamedType::read(name, &ResourceType::ALL)? {
                        NamedType::Supported(kind) => types.push(kind),
                        NamedType::Unsupported(remark) => parsed.ignored.push(remark),
                    }
                }
            }
            _ => {
                let (_, parameter, prefix) = criterion(name, value)?;
                parsed.request.pairs.push((parameter.to_owned(), format!("{prefix}{value}")));
            }
        }
        if !matches!(name.as_str(), "_format" | "_pretty") {
            parsed.applied.push((name.clone(), value.clone()));
        }
    }
    Ok(parsed)
}

/// A date without a prefix and without alternatives.
fn is_plain_date(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_digit()) && !value.contains(',')
}
