//! Searches (R4 http#search): from a query to a page of a Bundle.

mod include;
mod page;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::FhirRequest;
use super::bundle::{Entry, Mode};
use super::endpoints::endpoint_of;
use super::read::{form, render};
use crate::access::Access;
use crate::cache::Rendered;
use crate::dicom::StudyUid;
use crate::error::Failure;
use crate::fhir::search::{
    Contained, Criterion, Edge, ResourceType, ResultParameters, Search, SortKey, Surroundings, Total,
};
use crate::fhir::types::{Endpoint, ImagingStudy, Patient};
use crate::gateway::Gateway;
use crate::studies::{Cut, FoundPatient, Place, Standing, StudyPage, StudySearch, cut};
use include::{Frontier, included};
use page::{Page, Pages};

const NEVER_UPDATED: &str = "Parameter _lastUpdated: of no Patient can it be told when it changed, as archives tell of patients only in \
     their studies. Search for ImagingStudy by _lastUpdated, and include ImagingStudy:patient.";

/// By id, where no other order is asked for.
const BY_ID: [SortKey; 1] = [SortKey { parameter: "_id", descending: false }];

pub(super) async fn imaging_studies(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    let search: Search<ImagingStudy> = request.search(&gateway.search)?;
    let mut pages = Pages::of(&gateway.cursors, request, "ImagingStudy", &search);
    let place: Option<Place> = pages.place()?;
    let found = if search.result.contained == Contained::Only {
        // No resource contains an ImagingStudy.
        StudyPage { total: Some(0), ..StudyPage::default() }
    } else {
        let wanted = StudySearch {
            criteria: &search.criteria,
            sort: &search.result.sort,
            count: if search.result.only_count() { 0 } else { search.result.count },
            place: place.as_ref(),
            needs_total: search.result.only_count() || search.result.total == Some(Total::Accurate),
        };
        gateway.studies.page(&wanted, access, request.freshness()).await?
    };
    warn_of_what_is_left_out(&mut pages, &found);
    let StudyPage { studies, total, previous, next, asked_at, .. } = found;
    let base = request.base();
    let resources = gateway.studies.assemble(&studies, &form(&search.result), request.freshness()).await?;
    let matches = studies.iter().zip(resources).map(|(study, resource)| {
        let json = resource.rendered.json.clone();
        Entry::of(&base, ResourceType::ImagingStudy, study.uid().as_str(), json, Mode::Match)
    });
    let mut entries: Vec<_> = matches.collect();
    let frontier = Frontier { studies, ..Frontier::default() };
    entries.extend(included(gateway, request, access, &search.result, frontier).await?);
    let mut searchset = pages.searchset(Page { total, previous, next, entries });
    searchset.last_updated = asked_at.map(|moment| format!("{moment:.3}"));
    page::render(searchset).await
}

pub(super) async fn patients(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    let search: Search<Patient> = request.search(&gateway.search)?;
    let mut pages = Pages::of(&gateway.cursors, request, "Patient", &search);
    if search.criteria.iter().any(|criterion| criterion.parameter.name == "_lastUpdated") {
        pages.warn("informational", NEVER_UPDATED.to_owned());
    }
    let place: Option<Place> = pages.place()?;
    let found = match search.result.contained {
        Contained::Only => Vec::new(),
        Contained::No | Contained::Both => {
            let (criteria, reverse) = (&search.criteria, &search.reverse);
            gateway.studies.search_patients(criteria, reverse, access, request.freshness()).await?
        }
    };
    let keys = order(&search.result);
    let standing = |patient: &FoundPatient| Standing::of(keys, &patient.resource, &TimeZone::UTC);
    let standings = found.into_iter().map(|patient| (standing(&patient), patient)).collect();
    let Cut { items, total, previous, next } = cut(standings, keys, place.as_ref(), search.result.count);
    let (form, base) = (form(&search.result), request.base());
    let mut entries = Vec::new();
    for patient in &items {
        let resource = render(&patient.resource, &form)?.json;
        entries.push(Entry::of(&base, ResourceType::Patient, &patient.resource.id, resource, Mode::Match));
    }
    let frontier = Frontier { patients: items, ..Frontier::default() };
    entries.extend(included(gateway, request, access, &search.result, frontier).await?);
    page::render(pages.searchset(Page { total: Some(total), previous, next, entries })).await
}

pub(super) async fn endpoints(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    let search: Search<Endpoint> = request.search(&gateway.search)?;
    let pages = Pages::of(&gateway.cursors, request, "Endpoint", &search);
    let place: Option<Place> = pages.place()?;
    let mut found = matching_endpoints(gateway, request, &search.criteria);
    for has in search.reverse.iter().filter(|has| has.edge == Edge::StudyToEndpoint) {
        let criteria = std::slice::from_ref(&has.criterion);
        let studies = gateway.studies.search(criteria, access, request.freshness()).await?.studies;
        found.retain(|endpoint| studies.iter().any(|study| study.endpoints().any(|id| id == endpoint.id)));
    }
    if search.result.contained == Contained::Only {
        found.clear();
    }
    let keys = order(&search.result);
    let standing = |endpoint: &Endpoint| Standing::of(keys, endpoint, &TimeZone::UTC);
    let standings = found.into_iter().map(|endpoint| (standing(&endpoint), endpoint)).collect();
    let Cut { items, total, previous, next } = cut(standings, keys, place.as_ref(), search.result.count);
    let (form, base) = (form(&search.result), request.base());
    let mut entries = Vec::new();
    for endpoint in &items {
        let resource = render(endpoint, &form)?.json;
        entries.push(Entry::of(&base, ResourceType::Endpoint, &endpoint.id, resource, Mode::Match));
    }
    let endpoints = items.into_iter().map(|endpoint| endpoint.id).collect();
    let frontier = Frontier { endpoints, ..Frontier::default() };
    entries.extend(included(gateway, request, access, &search.result, frontier).await?);
    page::render(pages.searchset(Page { total: Some(total), previous, next, entries })).await
}

fn matching_endpoints(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    criteria: &[Criterion<Endpoint>],
) -> Vec<Endpoint> {
    let around =
        Surroundings { zone: &TimeZone::UTC, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    let mut endpoints: Vec<_> =
        gateway.studies.sources().iter().map(|source| endpoint_of(source, request)).collect();
    endpoints.retain(|endpoint| criteria.iter().all(|criterion| criterion.matches(endpoint, &around)));
    endpoints
}

fn order(result: &ResultParameters) -> &[SortKey] {
    if result.sort.is_empty() { &BY_ID } else { &result.sort }
}

/// Of what matches and could not be shown.
fn warn_of_what_is_left_out(pages: &mut Pages<'_>, found: &StudyPage) {
    if !found.under_two_patients.is_empty() {
        let uids: Vec<_> = found.under_two_patients.iter().map(StudyUid::as_str).collect();
        let list = uids.join(", ");
        pages.warn(
            "multiple-matches",
            format!(
                "Left out, as each stands under more than one patient and nobody can tell whose it is: {list}. A search by \
                 patient gives what stands under that patient."
            ),
        );
    }
    if found.nameless > 0 {
        let sentence = "matches were left out, as the archive has no legal Study Instance UID for them";
        pages.warn("incomplete", format!("{} {sentence}.", found.nameless));
    }
    if found.has_drifted {
        let sentence = "An archive's list of studies changed between the last page and this one: some may have been jumped over.";
        pages.warn("incomplete", sentence.to_owned());
    }
}
