//! Includes resources with the matches of a page (R4 search#include, search#revinclude): resources that a match refers to, and
//! resources that refer to a match. With `:iterate`, the references of included resources are followed too, until no resource is
//! added.

use std::collections::HashSet;

use super::page::Pages;
use super::search_match::{SearchMatch, write_entries};
use super::warn_about_omitted_studies;
use crate::auth::Access;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::fhir::bundle::{Mode, SearchEntry};
use crate::fhir::endpoints::build_endpoint;
use crate::studies::Representation;
use crate::studies::StudiesError;
use fhir_r4::search::{
    Comparison, Criterion, Include, Parameter, ReferenceElement, ReferenceMatch, ResourceType,
    ResultParameters,
};
use fhir_r4::types::ImagingStudy;

/// Returns the entries of the resources included with `matches`, without duplicates and without the matches themselves (R4
/// bundle.html, bdl-7).
pub(super) async fn include_resources(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    result: &ResultParameters,
    matches: Vec<SearchMatch>,
    pages: &mut Pages<'_>,
) -> Result<Vec<SearchEntry>, Failure> {
    let mut included: HashSet<String> = matches.iter().map(SearchMatch::reference).collect();
    let (mut new_matches, mut is_first_round) = (matches, true);
    let mut entries = Vec::new();
    while !new_matches.is_empty() {
        let references_of = |includes: &[Include]| {
            let applicable = includes.iter().filter(|include| is_first_round || include.iterate);
            applicable.flat_map(|include| include.references.iter().copied()).collect::<HashSet<_>>()
        };
        let mut added =
            find_referenced(context, request, &references_of(&result.includes), &new_matches).await?;
        let reverse_references = references_of(&result.reverse_includes);
        added.extend(
            find_referring(context, request, access, &reverse_references, &new_matches, pages).await?,
        );
        added.retain(|search_match| included.insert(search_match.reference()));
        let limit = context.limits.max_included;
        if entries.len() + added.len() > limit {
            return Err(StudiesError::TooManyToInclude { limit }.into());
        }
        entries.extend(
            write_entries(context, request, &mut added, &Representation::Full, Mode::Include, pages).await?,
        );
        (new_matches, is_first_round) = (added, false);
    }
    Ok(entries)
}

/// Returns the resources that the studies in `new_matches` refer to.
pub(super) async fn find_referenced(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    references: &HashSet<ReferenceElement>,
    new_matches: &[SearchMatch],
) -> Result<Vec<SearchMatch>, Failure> {
    let studies = || {
        new_matches.iter().filter_map(|search_match| match search_match {
            SearchMatch::Study(study) => Some(study),
            SearchMatch::Patient(_) | SearchMatch::Endpoint(_) => None,
        })
    };
    let mut referenced = Vec::new();
    if references.contains(&ReferenceElement::Subject) {
        let patients = studies().filter_map(|study| context.studies.patient_of(study));
        referenced.extend(patients.map(|patient| SearchMatch::Patient(Box::new(patient))));
    }
    if references.contains(&ReferenceElement::Endpoint) {
        let ids = context.studies.endpoints_of(studies(), request.freshness()).await?;
        let sources = context.studies.sources().iter();
        let sources = sources.filter(|source| ids.contains(source.archive.id().as_str()));
        let endpoints = sources.map(|source| build_endpoint(source, request));
        referenced.extend(endpoints.map(|endpoint| SearchMatch::Endpoint(Box::new(endpoint))));
    }
    Ok(referenced)
}

/// Returns the studies that refer to a resource in `new_matches`.
async fn find_referring(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    references: &HashSet<ReferenceElement>,
    new_matches: &[SearchMatch],
    pages: &mut Pages<'_>,
) -> Result<Vec<SearchMatch>, Failure> {
    let mut referring = Vec::new();
    for reference in references {
        let (name, target_type) = match reference {
            ReferenceElement::Subject => ("patient", ResourceType::Patient),
            ReferenceElement::Endpoint => ("endpoint", ResourceType::Endpoint),
        };
        let targets = new_matches.iter().filter(|target| target.kind() == target_type);
        let local_reference =
            |target: &SearchMatch| ReferenceMatch::Local { resource_type: None, id: target.id().to_owned() };
        let local_references: Vec<_> = targets.map(local_reference).collect();
        let Some(parameter) =
            Parameter::<ImagingStudy>::with_name(name).filter(|_| !local_references.is_empty())
        else {
            continue;
        };
        let criterion = Criterion { parameter, comparison: Comparison::Reference(local_references) };
        let studies = context.studies.search(&[criterion], access, request.freshness()).await?;
        warn_about_omitted_studies(pages, &studies);
        referring.extend(studies.studies.into_iter().map(SearchMatch::Study));
    }
    Ok(referring)
}
