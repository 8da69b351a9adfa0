//! What goes with the matches of a page (R4 search#include, search#revinclude): what they refer to and what refers to them, and
//! with `:iterate` what that refers to in turn, until nothing new comes.

use std::collections::HashSet;

use crate::access::Access;
use crate::cache::Form;
use crate::error::Failure;
use crate::facade::FhirRequest;
use crate::facade::bundle::{Entry, Mode};
use crate::facade::endpoints::endpoint_of;
use crate::facade::read::render;
use crate::fhir::search::{
    Criterion, Edge, Include, Parameter, ReferenceMatch, ResourceType, ResultParameters, Test,
};
use crate::fhir::types::ImagingStudy;
use crate::gateway::Gateway;
use crate::studies::{FoundPatient, FoundStudy, StudiesError};

/// Resources from which references are followed.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    pub(super) studies: Vec<FoundStudy>,
    pub(super) patients: Vec<FoundPatient>,
    /// By the ids of their archives.
    pub(super) endpoints: Vec<String>,
}

impl Frontier {
    fn is_empty(&self) -> bool {
        self.studies.is_empty() && self.patients.is_empty() && self.endpoints.is_empty()
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let studies = self.studies.iter().map(|study| format!("ImagingStudy/{}", study.uid()));
        let patients = self.patients.iter().map(|patient| format!("Patient/{}", patient.resource.id));
        studies.chain(patients).chain(self.endpoints.iter().map(|id| format!("Endpoint/{id}")))
    }

    /// Keeps only what `seen` does not hold yet, and puts it there.
    fn keep_new(&mut self, seen: &mut HashSet<String>) {
        self.studies.retain(|study| seen.insert(format!("ImagingStudy/{}", study.uid())));
        self.patients.retain(|patient| seen.insert(format!("Patient/{}", patient.resource.id)));
        self.endpoints.retain(|id| seen.insert(format!("Endpoint/{id}")));
    }
}

/// What goes with `matches`, each once, and none of the matches again (R4 bundle.html, bdl-7).
pub(super) async fn included(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
    result: &ResultParameters,
    matches: Frontier,
) -> Result<Vec<Entry>, Failure> {
    let mut seen: HashSet<String> = matches.names().collect();
    let (mut frontier, mut is_first) = (matches, true);
    let mut entries = Vec::new();
    while !frontier.is_empty() {
        let edges = |includes: &[Include]| {
            let applying = includes.iter().filter(|include| is_first || include.iterate);
            applying.flat_map(|include| include.edges.iter().copied()).collect::<HashSet<_>>()
        };
        let forwards = edges(&result.includes);
        let backwards = edges(&result.reverse_includes);
        let mut next = Frontier::default();
        if forwards.contains(&Edge::StudyToPatient) {
            let patients = frontier.studies.iter().filter_map(|study| gateway.studies.patient_of(study));
            next.patients.extend(patients);
        }
        if forwards.contains(&Edge::StudyToEndpoint) {
            next.endpoints.extend(frontier.studies.iter().flat_map(FoundStudy::endpoints).map(str::to_owned));
        }
        if backwards.contains(&Edge::StudyToPatient) {
            let ids = frontier.patients.iter().map(|patient| patient.resource.id.clone());
            next.studies.extend(referring(gateway, request, access, "patient", ids).await?);
        }
        if backwards.contains(&Edge::StudyToEndpoint) {
            let ids = frontier.endpoints.iter().cloned();
            next.studies.extend(referring(gateway, request, access, "endpoint", ids).await?);
        }
        next.keep_new(&mut seen);
        entries.extend(written(gateway, request, &next).await?);
        let limit = gateway.search.max_included;
        if entries.len() > limit {
            return Err(StudiesError::TooManyToInclude { limit }.into());
        }
        (frontier, is_first) = (next, false);
    }
    Ok(entries)
}

/// The studies that refer to any of `ids` by `parameter`.
async fn referring(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
    parameter: &str,
    ids: impl Iterator<Item = String>,
) -> Result<Vec<FoundStudy>, Failure> {
    let references: Vec<_> = ids.map(|id| ReferenceMatch::Own { kind: None, id }).collect();
    let Some(parameter) = Parameter::<ImagingStudy>::named(parameter).filter(|_| !references.is_empty())
    else {
        return Ok(Vec::new());
    };
    let criterion = Criterion { parameter, test: Test::Reference(references) };
    let found = gateway.studies.search(&[criterion], access, request.freshness()).await?;
    let limit = gateway.search.max_included;
    if found.studies.len() > limit {
        return Err(StudiesError::TooManyToInclude { limit }.into());
    }
    Ok(found.studies)
}

async fn written(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    included: &Frontier,
) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let base = request.base();
    let entry = |kind, id: &str, resource| Entry::of(&base, kind, id, resource, Mode::Include);
    let studies = gateway.studies.assemble(&included.studies, &Form::Full, request.freshness()).await?;
    for (study, resource) in included.studies.iter().zip(studies) {
        entries.push(entry(ResourceType::ImagingStudy, study.uid().as_str(), resource.rendered.json.clone()));
    }
    for patient in &included.patients {
        let resource = render(&patient.resource, &Form::Full)?.json;
        entries.push(entry(ResourceType::Patient, &patient.resource.id, resource));
    }
    let is_included = |id: &str| included.endpoints.iter().any(|included| included == id);
    for source in gateway.studies.sources().iter().filter(|source| is_included(source.archive.id().as_str()))
    {
        let endpoint = endpoint_of(source, request);
        entries.push(entry(ResourceType::Endpoint, &endpoint.id, render(&endpoint, &Form::Full)?.json));
    }
    Ok(entries)
}
