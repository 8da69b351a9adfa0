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
use crate::studies::{FoundStudy, StudiesError};
use fhir_r4::search::{
    Criterion, Edge, Include, Parameter, ReferenceMatch, ResourceType, ResultParameters, Test,
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
    let mut references: HashSet<String> = matches.iter().map(SearchMatch::reference).collect();
    let (mut frontier, mut is_first_round) = (matches, true);
    let mut entries = Vec::new();
    while !frontier.is_empty() {
        let edges = |includes: &[Include]| {
            let applicable = includes.iter().filter(|include| is_first_round || include.iterate);
            applicable.flat_map(|include| include.edges.iter().copied()).collect::<HashSet<_>>()
        };
        let mut added = find_referenced(context, request, &edges(&result.includes), &frontier);
        let reverse_edges = edges(&result.reverse_includes);
        added.extend(find_referring(context, request, access, &reverse_edges, &frontier, pages).await?);
        added.retain(|search_match| references.insert(search_match.reference()));
        let limit = context.limits.max_included;
        if entries.len() + added.len() > limit {
            return Err(StudiesError::TooManyToInclude { limit }.into());
        }
        entries.extend(
            write_entries(context, request, &added, &Representation::Full, Mode::Include, pages).await?,
        );
        (frontier, is_first_round) = (added, false);
    }
    Ok(entries)
}

/// Returns the resources that the studies in `frontier` refer to.
pub(super) fn find_referenced(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    edges: &HashSet<Edge>,
    frontier: &[SearchMatch],
) -> Vec<SearchMatch> {
    let studies = || {
        frontier.iter().filter_map(|search_match| match search_match {
            SearchMatch::Study(study) => Some(study),
            SearchMatch::Patient(_) | SearchMatch::Endpoint(_) => None,
        })
    };
    let mut referenced = Vec::new();
    if edges.contains(&Edge::StudyToPatient) {
        let patients = studies().filter_map(|study| context.studies.patient_of(study));
        referenced.extend(patients.map(|patient| SearchMatch::Patient(Box::new(patient))));
    }
    if edges.contains(&Edge::StudyToEndpoint) {
        let ids: HashSet<&str> = studies().flat_map(FoundStudy::endpoints).collect();
        let sources = context.studies.sources().iter();
        let sources = sources.filter(|source| ids.contains(source.archive.id().as_str()));
        let endpoints = sources.map(|source| build_endpoint(source, request));
        referenced.extend(endpoints.map(|endpoint| SearchMatch::Endpoint(Box::new(endpoint))));
    }
    referenced
}

/// Returns the studies that refer to a resource in `frontier`.
async fn find_referring(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    edges: &HashSet<Edge>,
    frontier: &[SearchMatch],
    pages: &mut Pages<'_>,
) -> Result<Vec<SearchMatch>, Failure> {
    let mut referring = Vec::new();
    for edge in edges {
        let (name, kind) = match edge {
            Edge::StudyToPatient => ("patient", ResourceType::Patient),
            Edge::StudyToEndpoint => ("endpoint", ResourceType::Endpoint),
        };
        let targets = frontier.iter().filter(|target| target.kind() == kind);
        let local_reference =
            |target: &SearchMatch| ReferenceMatch::Own { kind: None, id: target.id().to_owned() };
        let references: Vec<_> = targets.map(local_reference).collect();
        let Some(parameter) = Parameter::<ImagingStudy>::named(name).filter(|_| !references.is_empty())
        else {
            continue;
        };
        let criterion = Criterion { parameter, test: Test::Reference(references) };
        let studies = context.studies.search(&[criterion], access, request.freshness()).await?;
        warn_about_omitted_studies(pages, &studies);
        referring.extend(studies.studies.into_iter().map(SearchMatch::Study));
    }
    Ok(referring)
}
