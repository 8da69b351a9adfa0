//! Searches (R4 http#search): from a query to a page of a Bundle.

mod compartment;
mod everything;
mod include;
mod page;
mod search_match;
mod types;

pub(super) use everything::everything;
pub(super) use types::all_types;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::FhirRequest;
use super::bundle::Mode;
use super::endpoints::endpoint_of;
use super::read::representation;
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::{Failure, to_sentence};
use crate::fhir::FhirContext;
use crate::studies::{
    Cursor, FoundStudies, PageSlice, PatientConflict, SortPosition, StudiesError, StudyPage, StudySearch,
    UnreadStudy, comma_separated, paginate,
};
use crate::upstream::ArchiveId;
use fhir_r4::search::{
    Contained, Criterion, Edge, EvaluationContext, PatientParam, ResultParameters, Reverse, Search, Total,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use include::included;
use page::{Pages, SearchPage};
use search_match::{SearchMatch, SortOrder, write_entries};

/// Searches all studies, or those in the compartment of `patient`.
pub(super) async fn imaging_studies(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    patient: Option<&str>,
) -> Result<EncodedResource, Failure> {
    let mut search: Search<ImagingStudy> = request.search(&context.limits)?;
    let path = compartment::path(patient, "ImagingStudy");
    if let Some(id) = patient {
        compartment::focus(context, request, access, id).await?;
        search.criteria.push(Criterion::of_patient(id));
    }
    let mut pages = Pages::new(&context.cursors, request, &path, &search);
    let cursor: Option<Cursor> = pages.cursor()?;
    let found = if search.result.contained == Contained::Only {
        // ImagingStudy is never a contained resource here.
        StudyPage { total: Some(0), ..StudyPage::default() }
    } else {
        let wanted = StudySearch {
            criteria: &search.criteria,
            sort: &search.sort,
            count: if search.result.only_count() { 0 } else { search.result.count },
            cursor: cursor.as_ref(),
            needs_total: search.result.only_count() || search.result.total == Some(Total::Accurate),
        };
        context.studies.search_page(&wanted, access, request.freshness()).await?
    };
    warn_omitted(&mut pages, &found.patient_conflicts, &found.missing_uid, &found.unread);
    if found.has_drifted {
        let sentence = "An archive's list of studies changed between the previous page and this one, so studies may have been skipped.";
        pages.warn("incomplete", sentence.to_owned());
    }
    let StudyPage { studies, total, previous, next, requested_at, .. } = found;
    let studies: Vec<_> = studies.into_iter().map(SearchMatch::Study).collect();
    let representation = representation(&search.result);
    let mut entries =
        write_entries(context, request, &studies, &representation, Mode::Match, &mut pages).await?;
    entries.extend(included(context, request, access, &search.result, studies, &mut pages).await?);
    let mut searchset = pages.searchset(SearchPage { total, previous, next, entries });
    searchset.last_updated = requested_at.map(|moment| format!("{moment:.3}"));
    page::encode(searchset).await
}

pub(super) async fn patients(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let search: Search<Patient> = request.search(&context.limits)?;
    let mut pages = Pages::new(&context.cursors, request, "Patient", &search);
    warn_unsupported_patient_criteria(&mut pages, &search.criteria);
    let found = if search.result.contained == Contained::Only {
        Vec::new()
    } else {
        matching_patients(context, request, access, &search.criteria, &search.reverse).await?
    };
    let order = SortOrder { patients: &search.sort, ..SortOrder::default() };
    in_order(context, request, access, pages, &search.result, found, &order).await
}

pub(super) async fn endpoints(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let search: Search<Endpoint> = request.search(&context.limits)?;
    let pages = Pages::new(&context.cursors, request, "Endpoint", &search);
    let found = if search.result.contained == Contained::Only {
        Vec::new()
    } else {
        matching_endpoints(context, request, access, &search.criteria, &search.reverse).await?
    };
    let order = SortOrder { endpoints: &search.sort, ..SortOrder::default() };
    in_order(context, request, access, pages, &search.result, found, &order).await
}

async fn matching_patients(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    criteria: &[Criterion<Patient>],
    reverse: &[Reverse],
) -> Result<Vec<SearchMatch>, Failure> {
    let found = context.studies.search_patients(criteria, reverse, access, request.freshness()).await?;
    Ok(found.into_iter().map(|patient| SearchMatch::Patient(Box::new(patient))).collect())
}

async fn matching_endpoints(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    criteria: &[Criterion<Endpoint>],
    reverse: &[Reverse],
) -> Result<Vec<SearchMatch>, Failure> {
    let around =
        EvaluationContext { zone: &TimeZone::UTC, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    let mut found: Vec<_> =
        context.studies.sources().iter().map(|source| endpoint_of(source, request)).collect();
    found.retain(|endpoint| criteria.iter().all(|criterion| criterion.matches(endpoint, &around)));
    for has in reverse.iter().filter(|has| has.edge == Edge::StudyToEndpoint) {
        let criteria = std::slice::from_ref(&has.criterion);
        let found_studies = context.studies.search(criteria, access, request.freshness()).await?;
        // A study that may refer to an Endpoint would be missing without a warning.
        if let Some(unread) = found_studies.unread.first() {
            return Err((&unread.error).into());
        }
        let studies = || found_studies.studies.iter().chain(&found_studies.patient_conflicts);
        found.retain(|endpoint| studies().any(|study| study.endpoints().any(|id| id == endpoint.id)));
    }
    Ok(found.into_iter().map(|endpoint| SearchMatch::Endpoint(Box::new(endpoint))).collect())
}

/// Sorts all matches in the requested order, by default by id, and writes the page.
async fn in_order(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    pages: Pages<'_>,
    result: &ResultParameters,
    found: Vec<SearchMatch>,
    order: &SortOrder<'_>,
) -> Result<EncodedResource, Failure> {
    let found = found.into_iter().map(|found| (found.sort_position(context, order), found)).collect();
    write_page(context, request, access, pages, result, found, order).await
}

/// Cuts the page from the matches, and adds the included resources.
async fn write_page(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    mut pages: Pages<'_>,
    result: &ResultParameters,
    found: Vec<(SortPosition, SearchMatch)>,
    order: &SortOrder<'_>,
) -> Result<EncodedResource, Failure> {
    let directions = order.directions();
    let limit = context.limits.sort_window;
    if found.len() > limit && !directions.is_empty() {
        return Err(StudiesError::TooManyToSort { limit }.into());
    }
    let cursor: Option<Cursor> = pages.cursor()?;
    let count = if result.only_count() { 0 } else { result.count };
    let PageSlice { items, total, previous, next } = paginate(found, &directions, cursor.as_ref(), count);
    let representation = representation(result);
    let mut entries =
        write_entries(context, request, &items, &representation, Mode::Match, &mut pages).await?;
    entries.extend(included(context, request, access, result, items, &mut pages).await?);
    page::encode(pages.searchset(SearchPage { total: Some(total), previous, next, entries })).await
}

/// Warns about criteria that no Patient can match.
fn warn_unsupported_patient_criteria(pages: &mut Pages<'_>, criteria: &[Criterion<Patient>]) {
    if criteria.iter().any(|criterion| criterion.parameter.key == PatientParam::LastUpdated) {
        let sentence = "Parameter _lastUpdated: the time of a change is unknown for Patients, because archives describe patients \
                        only in their studies. Search for ImagingStudy by it, and include ImagingStudy:patient.";
        pages.warn("informational", sentence.to_owned());
    }
}

/// Warns about the matches that a search omits.
fn warn_of_omitted_studies(pages: &mut Pages<'_>, found: &FoundStudies) {
    let conflicts: Vec<_> = found.patient_conflicts.iter().map(PatientConflict::from).collect();
    warn_omitted(pages, &conflicts, &found.missing_uid, &found.unread);
}

/// Warns about omitted matches, which the total does not count (R4 bundle-definitions.html#Bundle.total).
fn warn_omitted(
    pages: &mut Pages<'_>,
    patient_conflicts: &[PatientConflict],
    missing_uid: &BTreeMap<ArchiveId, usize>,
    unread: &[UnreadStudy],
) {
    for UnreadStudy { uid, error } in unread {
        let reason = to_sentence(&error.to_string());
        pages.warn("incomplete", format!("Study {} may match and is omitted. {reason}", uid.as_str()));
    }
    if !patient_conflicts.is_empty() {
        let with_archives = |conflict: &PatientConflict| {
            format!("{} (archives: {})", conflict.uid, comma_separated(&conflict.archives))
        };
        let list = patient_conflicts.iter().map(with_archives).collect::<Vec<_>>().join("; ");
        pages.warn(
            "multiple-matches",
            format!(
                "Omitted, because each of these studies appears under more than one Patient ID, so its subject is ambiguous: \
                 {list}. A search by patient returns the studies of that patient."
            ),
        );
    }
    for (archive, count) in missing_uid {
        let (matches, them) =
            if *count == 1 { ("match was omitted", "it") } else { ("matches were omitted", "them") };
        let reason = format!("because the archive has no valid Study Instance UID for {them}");
        pages.warn("incomplete", format!("Archive {archive}: {count} {matches}, {reason}."));
    }
}
