//! `Patient/{id}/$everything` (R4 operation-patient-everything): the Patient, their studies, and the Endpoints where those are.
//! Of the Patient it cannot be told when they changed, so they are always there.

use std::collections::HashSet;

use super::include::referred;
use super::page::{Pages, Reading};
use super::search_match::SearchMatch;
use super::types::Named;
use super::{compartment, cut_from, warn_of_what_is_left_out};
use crate::auth::Access;
use crate::cache::Rendered;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use dicom_model::StudyUid;
use fhir_r4::search::{Edge, ResourceType, Search};
use fhir_r4::types::ImagingStudy;

/// The parameters of the operation, and the criteria that they are for a study. Whoever asks for what is new since a moment
/// must not be given a part of it, so that a parameter that is not known is refused.
const CRITERIA: [(&str, &str, &str); 3] =
    [("start", "started", "ge"), ("end", "started", "le"), ("_since", "_lastUpdated", "ge")];

/// Of all that there is, by type and id, a page.
pub(in crate::fhir) async fn everything(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    id: &str,
) -> Result<Rendered, Failure> {
    let patient = compartment::focus(context, request, access, id).await?;
    let asked = asked(request)?;
    let mut search: Search<ImagingStudy> = asked.request.search(&context.limits)?;
    search.criteria.push(compartment::refers_to(id)?);
    let reading = Reading { applied: &asked.applied, ignored: &asked.ignored, ..Reading::from(&search) };
    let mut pages = Pages::of(&context.cursors, request, &format!("Patient/{id}/$everything"), reading);
    let mut found = vec![SearchMatch::Patient(Box::new(patient))];
    if asked.wants(ResourceType::ImagingStudy) || asked.wants(ResourceType::Endpoint) {
        let studies = context.studies.search(&search.criteria, access, request.freshness()).await?;
        let uids: Vec<StudyUid> = studies.patient_conflicts.iter().map(|study| study.uid().clone()).collect();
        warn_of_what_is_left_out(&mut pages, &uids, studies.missing_uid);
        found.extend(studies.studies.into_iter().map(SearchMatch::Study));
        found.extend(referred(context, request, &HashSet::from([Edge::StudyToEndpoint]), &found));
    }
    found.retain(|found| asked.wants(found.kind()));
    let standing = |found: &SearchMatch| found.standing(context, &[]).under(found.name());
    let found = found.into_iter().map(|found| (standing(&found), found)).collect();
    cut_from(context, request, access, pages, &search.result, found, &[]).await
}

/// What is asked for, as a search for studies.
struct EverythingRequest<'a> {
    request: FhirRequest<'a>,
    types: Option<Vec<ResourceType>>,
    /// Of types that nobody serves here.
    ignored: Vec<(String, String)>,
    applied: Vec<(String, String)>,
}

impl EverythingRequest<'_> {
    fn wants(&self, kind: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&kind))
    }
}

fn asked<'a>(request: &FhirRequest<'a>) -> Result<EverythingRequest<'a>, Failure> {
    let mut asked = EverythingRequest {
        request: request.with(|_| false),
        types: None,
        ignored: Vec::new(),
        applied: Vec::new(),
    };
    for (name, value) in request.pairs.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "_count" | "_cursor" | "_format" | "_pretty" => {
                asked.request.pairs.push((name.clone(), value.clone()));
            }
            "_type" => {
                let types = asked.types.get_or_insert_default();
                for name in value.split(',').map(str::trim) {
                    match Named::read(name, &ResourceType::ALL)? {
                        Named::Served(kind) => types.push(kind),
                        Named::Unserved(remark) => asked.ignored.push(remark),
                    }
                }
            }
            _ => {
                let criterion =
                    CRITERIA.iter().find(|(known, ..)| known == name).filter(|_| is_plain_date(value));
                let Some((_, parameter, prefix)) = criterion else {
                    let diagnostics =
                        "The operation has the parameters start, end and _since (dates), _type and _count.";
                    return Err(Failure::bad_request("not-supported", diagnostics));
                };
                asked.request.pairs.push(((*parameter).to_owned(), format!("{prefix}{value}")));
            }
        }
        if !matches!(name.as_str(), "_format" | "_pretty") {
            asked.applied.push((name.clone(), value.clone()));
        }
    }
    Ok(asked)
}

/// A date of its own, without a prefix and without alternatives.
fn is_plain_date(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_digit()) && !value.contains(',')
}
