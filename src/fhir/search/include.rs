//! Resources included with the matches of a page (R4 search#include, search#revinclude): what they refer to and what refers to
//! them, and with `:iterate` further references, until nothing new is found.

use std::collections::HashSet;

use super::page::Pages;
use super::search_match::{SearchMatch, write_entries};
use super::warn_of_omitted_studies;
use crate::auth::Access;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::fhir::bundle::{Entry, Mode};
use crate::fhir::endpoints::endpoint_of;
use crate::studies::Representation;
use crate::studies::{FoundStudy, StudiesError};
use fhir_r4::search::{
    Criterion, Edge, Include, Parameter, ReferenceMatch, ResourceType, ResultParameters, Test,
};
use fhir_r4::types::ImagingStudy;

/// The resources included with `matches`, each once, and without the matches themselves (R4 bundle.html, bdl-7).
pub(super) async fn included(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    result: &ResultParameters,
    matches: Vec<SearchMatch>,
    pages: &mut Pages<'_>,
) -> Result<Vec<Entry>, Failure> {
    let mut seen: HashSet<String> = matches.iter().map(SearchMatch::name).collect();
    let (mut frontier, mut is_first) = (matches, true);
    let mut entries = Vec::new();
    while !frontier.is_empty() {
        let edges = |includes: &[Include]| {
            let applying = includes.iter().filter(|include| is_first || include.iterate);
            applying.flat_map(|include| include.edges.iter().copied()).collect::<HashSet<_>>()
        };
        let mut next = referred(context, request, &edges(&result.includes), &frontier);
        let backwards = edges(&result.reverse_includes);
        next.extend(referring(context, request, access, &backwards, &frontier, pages).await?);
        next.retain(|found| seen.insert(found.name()));
        let limit = context.limits.max_included;
        if entries.len() + next.len() > limit {
            return Err(StudiesError::TooManyToInclude { limit }.into());
        }
        entries.extend(
            write_entries(context, request, &next, &Representation::Full, Mode::Include, pages).await?,
        );
        (frontier, is_first) = (next, false);
    }
    Ok(entries)
}

/// The resources that the studies in `frontier` refer to.
pub(super) fn referred(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    edges: &HashSet<Edge>,
    frontier: &[SearchMatch],
) -> Vec<SearchMatch> {
    let studies = || {
        frontier.iter().filter_map(|found| match found {
            SearchMatch::Study(study) => Some(study),
            SearchMatch::Patient(_) | SearchMatch::Endpoint(_) => None,
        })
    };
    let mut referred = Vec::new();
    if edges.contains(&Edge::StudyToPatient) {
        let patients = studies().filter_map(|study| context.studies.patient_of(study));
        referred.extend(patients.map(|patient| SearchMatch::Patient(Box::new(patient))));
    }
    if edges.contains(&Edge::StudyToEndpoint) {
        let ids: HashSet<&str> = studies().flat_map(FoundStudy::endpoints).collect();
        let sources = context.studies.sources().iter();
        let held = sources.filter(|source| ids.contains(source.archive.id().as_str()));
        referred.extend(held.map(|source| SearchMatch::Endpoint(Box::new(endpoint_of(source, request)))));
    }
    referred
}

/// The studies that refer to a resource in `frontier`.
async fn referring(
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
        let targets = frontier.iter().filter(|found| found.kind() == kind);
        let own = |found: &SearchMatch| ReferenceMatch::Own { kind: None, id: found.id().to_owned() };
        let references: Vec<_> = targets.map(own).collect();
        let Some(parameter) = Parameter::<ImagingStudy>::named(name).filter(|_| !references.is_empty())
        else {
            continue;
        };
        let criterion = Criterion { parameter, test: Test::Reference(references) };
        let found = context.studies.search(&[criterion], access, request.freshness()).await?;
        warn_of_omitted_studies(pages, &found);
        referring.extend(found.studies.into_iter().map(SearchMatch::Study));
    }
    Ok(referring)
}
