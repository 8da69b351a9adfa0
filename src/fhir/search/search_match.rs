//! A match of any type, before it is written into a Bundle.

use jiff::tz::TimeZone;
use memchr::memmem;
use serde::Deserialize;

use super::page::Pages;
use crate::error::{Failure, to_sentence};
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::fhir::bundle::{Mode, SearchEntry};
use crate::fhir::read::encode;
use crate::mapping::{DIFFERING_ELEMENT, differing_elements};
use crate::studies::{
    FoundPatient, FoundStudy, OmittedCounts, Representation, SortPosition, StudiesError, comma_separated,
};
use fhir_r4::search::{Direction, ResourceType, SortKey};
use fhir_r4::types::{Endpoint, ImagingStudy, Meta, Patient};

/// A matching or included resource. Studies are not assembled yet.
#[derive(Debug, Clone)]
pub(in crate::fhir) enum SearchMatch {
    Study(FoundStudy),
    Patient(Box<FoundPatient>),
    Endpoint(Box<Endpoint>),
}

/// The order of matches. Each searched type has sort keys of the same names and directions. Without keys, the order is by id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SortOrder<'a> {
    pub(super) studies: &'a [SortKey<ImagingStudy>],
    pub(super) patients: &'a [SortKey<Patient>],
    pub(super) endpoints: &'a [SortKey<Endpoint>],
}

impl SortOrder<'_> {
    /// Returns the directions of the keys.
    pub(super) fn directions(&self) -> Vec<Direction> {
        let directions = [
            self.studies.iter().map(SortKey::direction).collect::<Vec<_>>(),
            self.patients.iter().map(SortKey::direction).collect(),
            self.endpoints.iter().map(SortKey::direction).collect(),
        ];
        directions.into_iter().find(|directions| !directions.is_empty()).unwrap_or_default()
    }
}

impl SearchMatch {
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

    /// Returns a relative reference to the resource: `[type]/[id]`.
    pub(super) fn reference(&self) -> String {
        format!("{}/{}", self.kind(), self.id())
    }

    /// Returns the position of the match in `order`, among matches of the same type.
    pub(super) fn sort_position(&self, context: &FhirContext, order: &SortOrder<'_>) -> SortPosition {
        match self {
            Self::Study(study) => context.studies.sort_position(study, order.studies),
            Self::Patient(patient) => {
                SortPosition::from_resource(order.patients, &patient.resource, &patient.zone)
            }
            Self::Endpoint(endpoint) => {
                SortPosition::from_resource(order.endpoints, endpoint.as_ref(), &TimeZone::UTC)
            }
        }
    }
}

/// Warns that another patient has a study with the same UID.
fn warn_about_other_patients(pages: &mut Pages<'_>, study: &FoundStudy) {
    if !study.other_patients().is_empty() {
        let archives = comma_separated(&study.other_patients().iter().cloned().collect());
        pages.warn(
            "multiple-matches",
            format!(
                "Study {} also appears under another Patient ID (archives: {archives}). What is returned is the study of this \
                 patient only.",
                study.uid()
            ),
        );
    }
}

/// Warns about series and instances that no resource can contain.
fn warn_about_omitted_rows(pages: &mut Pages<'_>, study: &FoundStudy, omitted: OmittedCounts) {
    if !omitted.is_empty() {
        let OmittedCounts { series, instances, with_lenient_rule } = omitted;
        let remedy = match with_lenient_rule {
            0 => String::new(),
            _ => format!(
                " With lenient_uids = true for the archive, {with_lenient_rule} of them would be returned."
            ),
        };
        let (uid, archive) = (study.uid().as_str(), &study.first_row().archive);
        pages.warn(
            "incomplete",
            format!(
                "Study {uid} is returned without {series} series and {instances} instances (meta.tag SUBSETTED), because archive \
                 {archive} lists them without a valid UID (PS3.5 9.1).{remedy}"
            ),
        );
    }
}

/// Reports the elements of which the archives have different values. `json` is the resource, whose tags name them.
fn report_differences(pages: &mut Pages<'_>, study: &FoundStudy, json: &[u8]) {
    #[derive(Deserialize)]
    struct TaggedResource {
        #[serde(default)]
        meta: Meta,
    }
    if memmem::find(json, DIFFERING_ELEMENT.as_bytes()).is_none() {
        return;
    }
    let Ok(resource) = serde_json::from_slice::<TaggedResource>(json) else { return };
    let elements: Vec<_> = differing_elements(&resource.meta.tag).collect();
    if !elements.is_empty() {
        let archives = study.endpoints().collect::<Vec<_>>().join(", ");
        let diagnostics = format!(
            "Study {}: the archives ({archives}) have different values of {}. The resource has the value of the first archive that has one.",
            study.uid(),
            elements.join(", ")
        );
        pages.inform(diagnostics);
    }
}

/// Writes entries for the resources in `matches`. A study whose series cannot be read is written from its row only, and a study with
/// parts of different patients is removed from `matches`, each with a warning. The latter is a match according to the rows, which alone
/// determine the total, so that the total is the same on every page and in a search that reads only rows.
pub(super) async fn write_entries(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    matches: &mut Vec<SearchMatch>,
    representation: &Representation,
    mode: Mode,
    pages: &mut Pages<'_>,
) -> Result<Vec<SearchEntry>, Failure> {
    let studies: Vec<_> = matches
        .iter()
        .filter_map(|search_match| match search_match {
            SearchMatch::Study(study) => Some(study.clone()),
            SearchMatch::Patient(_) | SearchMatch::Endpoint(_) => None,
        })
        .collect();
    let assembled = context.studies.assemble(&studies, representation, request.freshness()).await?;
    let mut assembled = studies.iter().zip(assembled);
    let base = request.base();
    let mut entries = Vec::with_capacity(matches.len());
    let mut written = Vec::with_capacity(matches.len());
    for search_match in std::mem::take(matches) {
        let resource = match search_match {
            SearchMatch::Study(_) => match assembled.next() {
                Some((study, Ok(entry))) => {
                    warn_about_other_patients(pages, study);
                    warn_about_omitted_rows(pages, study, entry.omitted);
                    if request.requests_outcome() {
                        report_differences(pages, study, &entry.encoded.json);
                    }
                    Some(entry.encoded.json.clone())
                }
                Some((study, Err(error @ StudiesError::PatientOfPart { .. }))) => {
                    context.studies.report_again(study).await;
                    let reason = to_sentence(&error.to_string());
                    let counted = match mode {
                        Mode::Match => ", although Bundle.total counts it",
                        Mode::Include | Mode::Outcome => "",
                    };
                    let diagnostics = format!("Study {} is omitted{counted}. {reason}", study.uid());
                    pages.warn("multiple-matches", diagnostics);
                    continue;
                }
                Some((study, Err(error))) => {
                    warn_about_other_patients(pages, study);
                    context.studies.report_again(study).await;
                    let (uid, reason) = (study.uid().as_str(), to_sentence(&error.to_string()));
                    pages.warn(
                        "incomplete",
                        format!("Study {uid} is returned without its series (meta.tag SUBSETTED). {reason}"),
                    );
                    Some(context.studies.describe_row_only(study, representation)?.into())
                }
                None => None,
            },
            SearchMatch::Patient(ref patient) => Some(encode(&patient.resource, representation)?.json),
            SearchMatch::Endpoint(ref endpoint) => Some(encode(endpoint.as_ref(), representation)?.json),
        };
        // `assemble` returns a result for each study.
        let resource = resource.ok_or_else(Failure::internal)?;
        entries.push(SearchEntry::new(&base, search_match.kind(), search_match.id(), resource, mode));
        written.push(search_match);
    }
    *matches = written;
    Ok(entries)
}
