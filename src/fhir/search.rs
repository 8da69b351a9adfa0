//! Searches (R4 http#search): parses the parameters of a request, and returns a page of the matches as a Bundle.

mod compartment;
mod everything;
mod include;
mod page;
mod search_match;
mod types;

pub(super) use everything::read_everything;
pub(super) use types::search_types;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::FhirRequest;
use super::bundle::Mode;
use super::endpoints::build_endpoint;
use super::read::requested_representation;
use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::{Failure, to_sentence};
use crate::fhir::FhirContext;
use crate::studies::{
    Cursor, FoundStudies, FoundStudy, OmittedMatches, PageSlice, PatientConflict, SortPosition, StudiesError,
    StudyPage, StudySearch, UnreadableStudy, comma_separated, paginate,
};
use crate::upstream::ArchiveId;
use dicom_model::Uid;
use fhir_r4::search::{
    Comparison, Contained, Criterion, EvaluationContext, ImagingStudyParam, PatientParam, ReferenceElement,
    ResultParameters, ReverseChain, Search, System, Token, Total,
};
use fhir_r4::types::{Endpoint, ImagingStudy, Patient};
use include::include_resources;
use page::{Pages, SearchPage};
use search_match::{SearchMatch, SortOrder, write_entries};

/// Searches ImagingStudies, or only those in the compartment of the Patient with the id `patient`.
pub(super) async fn search_studies(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    patient: Option<&str>,
) -> Result<EncodedResource, Failure> {
    let mut search: Search<ImagingStudy> = request.parse_search(context)?;
    let path = compartment::search_path(patient, "ImagingStudy");
    if let Some(id) = patient {
        let patient = compartment::find_patient(context, request, access, id).await?;
        search.criteria.push(Criterion::of_patient(&patient.resource.id));
    }
    let context = &context.for_named_archives(&search.criteria);
    let mut pages = Pages::new(&context.link_key, request, &path, &search);
    let cursor: Option<Cursor> = pages.open_cursor()?;
    let study_page = if search.result.contained == Contained::True {
        // No resource of this server contains an ImagingStudy.
        StudyPage { total: Some(0), ..StudyPage::default() }
    } else {
        let study_search = StudySearch {
            criteria: &search.criteria,
            sort: &search.sort,
            count: if search.result.is_count_only() { 0 } else { search.result.count },
            cursor: cursor.as_ref(),
            needs_total: search.result.is_count_only() || search.result.total == Some(Total::Accurate),
        };
        context.studies.search_page(&study_search, access, request.freshness()).await?
    };
    warn_about_omitted_matches(
        &mut pages,
        &study_page.patient_conflicts,
        &study_page.omitted_matches,
        &study_page.unreadable,
    );
    if study_page.has_list_changed {
        let diagnostics = "An archive's list of studies changed between the previous page and this one, so studies may have been skipped.";
        pages.warn("incomplete", diagnostics.to_owned());
    }
    if cursor.is_none() && is_empty(&study_page) && names_study_uid_only(&search.criteria) {
        let diagnostics = "Parameter identifier: nothing matches. A Study Instance UID is an identifier with the system urn:dicom:uid and a value \
                           that begins with urn:oid:, so it is found by identifier=urn:dicom:uid|urn:oid:{UID}, or by _id={UID}.";
        pages.warn("informational", diagnostics.to_owned());
    }
    warn_about_rest_of_long_list(&mut pages, &study_page);
    let StudyPage { studies, total, previous, next, requested_at, .. } = study_page;
    let mut studies: Vec<_> = studies.into_iter().map(SearchMatch::Study).collect();
    let representation = requested_representation(&search.result);
    let mut entries =
        write_entries(context, request, &mut studies, &representation, Mode::Match, &mut pages).await?;
    entries.extend(include_resources(context, request, access, &search.result, studies, &mut pages).await?);
    let mut searchset = pages
        .into_searchset(SearchPage { total, previous, next, entries }, &context.studies.missing_archives());
    searchset.last_updated = requested_at.map(|instant| format!("{instant:.3}"));
    page::encode(searchset).await
}

/// Whether no study matches.
fn is_empty(page: &StudyPage) -> bool {
    page.studies.is_empty() && page.next.is_none() && page.total.unwrap_or(0) == 0
}

/// Whether a criterion compares identifiers with a UID that lacks its form as an identifier.
fn names_study_uid_only(criteria: &[Criterion<ImagingStudy>]) -> bool {
    // A single number is a UID, too, but more often an accession number.
    let is_uid = |code: &str| Uid::is_legal(code) && code.contains('.');
    let is_uid_only =
        |token: &Token| !matches!(token.system, System::Uri(_)) && token.code.as_deref().is_some_and(is_uid);
    criteria.iter().any(|criterion| match &criterion.comparison {
        Comparison::Token(tokens) if criterion.parameter.key == ImagingStudyParam::Identifier => {
            tokens.iter().any(is_uid_only)
        }
        _ => false,
    })
}

/// Searches Patients.
pub(super) async fn search_patients(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let search: Search<Patient> = request.parse_search(context)?;
    let mut pages = Pages::new(&context.link_key, request, "Patient", &search);
    warn_about_unsupported_patient_criteria(&mut pages, &search.criteria);
    let matches = if search.result.contained == Contained::True {
        Vec::new()
    } else {
        find_patients(context, request, access, &search.criteria, &search.reverse_chains).await?
    };
    let order = SortOrder { patients: &search.sort, ..SortOrder::default() };
    write_sorted_page(context, request, access, pages, &search.result, matches, &order).await
}

/// Searches Endpoints.
pub(super) async fn search_endpoints(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let search: Search<Endpoint> = request.parse_search(context)?;
    let pages = Pages::new(&context.link_key, request, "Endpoint", &search);
    let matches = if search.result.contained == Contained::True {
        Vec::new()
    } else {
        find_endpoints(context, request, access, &search.criteria, &search.reverse_chains).await?
    };
    let order = SortOrder { endpoints: &search.sort, ..SortOrder::default() };
    write_sorted_page(context, request, access, pages, &search.result, matches, &order).await
}

/// Finds the Patients that match all criteria.
async fn find_patients(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    criteria: &[Criterion<Patient>],
    reverse_chains: &[ReverseChain],
) -> Result<Vec<SearchMatch>, Failure> {
    let patients =
        context.studies.search_patients(criteria, reverse_chains, access, request.freshness()).await?;
    Ok(patients.into_iter().map(|patient| SearchMatch::Patient(Box::new(patient))).collect())
}

/// Finds the Endpoints that match all criteria.
async fn find_endpoints(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    criteria: &[Criterion<Endpoint>],
    reverse_chains: &[ReverseChain],
) -> Result<Vec<SearchMatch>, Failure> {
    let evaluation_context =
        EvaluationContext { zone: &TimeZone::UTC, now: Timestamp::UNIX_EPOCH, patient: None, endpoints: &[] };
    let mut endpoints: Vec<_> =
        context.studies.sources().iter().map(|source| build_endpoint(source, request)).collect();
    endpoints
        .retain(|endpoint| criteria.iter().all(|criterion| criterion.matches(endpoint, &evaluation_context)));
    for chain in reverse_chains.iter().filter(|chain| chain.reference == ReferenceElement::Endpoint) {
        let criteria = std::slice::from_ref(&chain.criterion);
        let found_studies = context.studies.search(criteria, access, request.freshness()).await?;
        // A study that could not be read may refer to an Endpoint, which would be missing without a warning.
        if let Some(unreadable) = found_studies.unreadable.first() {
            return Err((&unreadable.error).into());
        }
        let mut ids = context.studies.endpoints_of(found_studies.studies.iter(), request.freshness()).await?;
        let conflicts = found_studies.patient_conflicts.iter();
        ids.extend(conflicts.flat_map(FoundStudy::endpoints).map(str::to_owned));
        let without_uid = &found_studies.matches_without_uid;
        endpoints.retain(|endpoint| {
            ids.contains(&endpoint.id)
                || without_uid.iter().any(|row| row.is_compared() && row.archive.as_str() == endpoint.id)
        });
    }
    Ok(endpoints.into_iter().map(|endpoint| SearchMatch::Endpoint(Box::new(endpoint))).collect())
}

/// Writes the requested page of `matches` in the requested order, by default by id.
async fn write_sorted_page(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    pages: Pages<'_>,
    result: &ResultParameters,
    matches: Vec<SearchMatch>,
    order: &SortOrder<'_>,
) -> Result<EncodedResource, Failure> {
    let matches = matches
        .into_iter()
        .map(|search_match| (search_match.sort_position(context, order), search_match))
        .collect();
    write_page(context, request, access, pages, result, matches, order).await
}

/// Writes the requested page of `matches`, sorted by position, with the included resources.
async fn write_page(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    mut pages: Pages<'_>,
    result: &ResultParameters,
    matches: Vec<(SortPosition, SearchMatch)>,
    order: &SortOrder<'_>,
) -> Result<EncodedResource, Failure> {
    let directions = order.directions();
    let limit = context.limits.sort_window;
    if matches.len() > limit && !directions.is_empty() {
        return Err(StudiesError::TooManyToSort { limit }.into());
    }
    let cursor: Option<Cursor> = pages.open_cursor()?;
    let count = if result.is_count_only() { 0 } else { result.count };
    let PageSlice { mut items, total, previous, next } =
        paginate(matches, &directions, cursor.as_ref(), count);
    let representation = requested_representation(result);
    let mut entries =
        write_entries(context, request, &mut items, &representation, Mode::Match, &mut pages).await?;
    entries.extend(include_resources(context, request, access, result, items, &mut pages).await?);
    let page = SearchPage { total: Some(total), previous, next, entries };
    page::encode(pages.into_searchset(page, &context.studies.missing_archives())).await
}

/// Warns about what a page of a list that is too long to be read as a whole does not contain.
fn warn_about_rest_of_long_list(pages: &mut Pages<'_>, page: &StudyPage) {
    if page.is_short {
        let diagnostics = "The page has fewer matches than requested, because a request reads only a limited number of studies \
                           (search.max_scan) and archives cannot search by all parameters. The next page continues.";
        pages.warn("incomplete", diagnostics.to_owned());
    }
    for archive in &page.without_undated_studies {
        let diagnostics = format!(
            "Archive {archive}: the list does not contain studies without a date, because the archive contains more studies than a \
             search reads (search.max_scan) and cannot search for them. A search by patient or identifier finds them."
        );
        pages.warn("incomplete", diagnostics);
    }
}

/// Warns about criteria that no Patient can match.
fn warn_about_unsupported_patient_criteria(pages: &mut Pages<'_>, criteria: &[Criterion<Patient>]) {
    if criteria.iter().any(|criterion| criterion.parameter.key == PatientParam::LastUpdated) {
        let diagnostics = "Parameter _lastUpdated: a search does not know when a Patient changed, because archives describe patients \
                        only in their studies. Search for ImagingStudy by it, and include ImagingStudy:patient.";
        pages.warn("informational", diagnostics.to_owned());
    }
}

/// Warns about the matches that a search for studies omits.
fn warn_about_omitted_studies(pages: &mut Pages<'_>, studies: &FoundStudies) {
    let conflicts: Vec<_> = studies.patient_conflicts.iter().map(PatientConflict::from).collect();
    warn_about_omitted_matches(pages, &conflicts, &studies.omitted_matches(), &studies.unreadable);
}

/// Warns about omitted matches, which are not included in the total (R4 bundle-definitions#Bundle.total). Every page has these warnings.
fn warn_about_omitted_matches(
    pages: &mut Pages<'_>,
    patient_conflicts: &[PatientConflict],
    omitted_matches: &BTreeMap<ArchiveId, OmittedMatches>,
    unreadable: &[UnreadableStudy],
) {
    for UnreadableStudy { uid, error } in unreadable {
        let reason = to_sentence(&error.to_string());
        pages.warn("incomplete", format!("Study {} may match and is omitted. {reason}", uid.as_str()));
    }
    if !patient_conflicts.is_empty() {
        let describe = |conflict: &PatientConflict| {
            format!("{} (archives: {})", conflict.uid, comma_separated(&conflict.archives))
        };
        let list = patient_conflicts.iter().map(describe).collect::<Vec<_>>().join("; ");
        pages.warn(
            "multiple-matches",
            format!(
                "Omitted, because each of these studies appears under more than one Patient ID, so its subject is ambiguous: \
                 {list}. A search by patient returns the studies of that patient."
            ),
        );
    }
    for (archive, omitted) in omitted_matches {
        let OmittedMatches { count, with_lenient_rule, uncompared } = omitted;
        let (matches, pronoun) =
            if *count == 1 { ("match was omitted", "it") } else { ("matches were omitted", "them") };
        let reason = format!("because the archive has no valid Study Instance UID for {pronoun}");
        let remedy = match with_lenient_rule {
            0 => String::new(),
            _ => {
                format!(" With lenient_uids = true for this archive, {with_lenient_rule} would be returned.")
            }
        };
        let doubt = match uncompared {
            0 => String::new(),
            _ => format!(" {uncompared} may not match, because the series and instances were not compared."),
        };
        pages.warn("incomplete", format!("Archive {archive}: {count} {matches}, {reason}.{doubt}{remedy}"));
    }
}
