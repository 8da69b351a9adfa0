//! What a search found, of any type, on its way into a Bundle.

use jiff::tz::TimeZone;

use crate::cache::Form;
use crate::error::Failure;
use crate::facade::FhirContext;
use crate::facade::FhirRequest;
use crate::facade::bundle::{Entry, Mode};
use crate::facade::read::render;
use crate::fhir::search::{ResourceType, SortKey};
use crate::fhir::types::Endpoint;
use crate::studies::{FoundPatient, FoundStudy, Standing};

/// A resource that was found; a study is not assembled yet.
#[derive(Debug, Clone)]
pub(in crate::facade) enum Found {
    Study(FoundStudy),
    Patient(Box<FoundPatient>),
    Endpoint(Box<Endpoint>),
}

impl Found {
    pub(super) fn kind(&self) -> ResourceType {
        match self {
            Self::Study(_) => ResourceType::ImagingStudy,
            Self::Patient(_) => ResourceType::Patient,
            Self::Endpoint(_) => ResourceType::Endpoint,
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Study(study) => study.uid().as_str(),
            Self::Patient(patient) => &patient.resource.id,
            Self::Endpoint(endpoint) => &endpoint.id,
        }
    }

    /// As a reference has it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.kind(), self.id())
    }

    /// Where it stands among others of its type.
    pub(super) fn standing(&self, context: &FhirContext, keys: &[SortKey]) -> Standing {
        match self {
            Self::Study(study) => context.studies.standing(study, keys),
            Self::Patient(patient) => Standing::of(keys, &patient.resource, &patient.zone),
            Self::Endpoint(endpoint) => Standing::of(keys, endpoint.as_ref(), &TimeZone::UTC),
        }
    }
}

/// Writes what was found, in its order.
pub(super) async fn written(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    found: &[Found],
    form: &Form,
    mode: Mode,
) -> Result<Vec<Entry>, Failure> {
    let studies: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Found::Study(study) => Some(study.clone()),
            Found::Patient(_) | Found::Endpoint(_) => None,
        })
        .collect();
    let mut assembled = context.studies.assemble(&studies, form, request.freshness()).await?.into_iter();
    let base = request.base();
    let mut entries = Vec::with_capacity(found.len());
    for found in found {
        let resource = match found {
            Found::Study(_) => assembled.next().map(|study| study.rendered.json.clone()),
            Found::Patient(patient) => Some(render(&patient.resource, form)?.json),
            Found::Endpoint(endpoint) => Some(render(endpoint.as_ref(), form)?.json),
        };
        // There is a resource for each study that was handed over.
        let resource = resource.ok_or_else(Failure::internal)?;
        entries.push(Entry::of(&base, found.kind(), found.id(), resource, mode));
    }
    Ok(entries)
}
