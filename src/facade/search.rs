//! Searches (R4 http#search): from a query to a page of a Bundle.

use std::collections::HashSet;

use bytes::Bytes;

use super::FhirRequest;
use super::bundle::{Entry, Mode, Searchset};
use super::cursor::Cursor;
use super::endpoints::endpoint_of;
use super::read::{form, render};
use crate::access::Access;
use crate::cache::{Form, Rendered};
use crate::dicom::StudyUid;
use crate::error::Failure;
use crate::fhir::search::{
    ENDPOINT_PARAMETERS, EndpointCriterion, IMAGING_STUDY_PARAMETERS, PATIENT_PARAMETERS, ResourceType,
    Search, StudyInclude, Token, Total,
};
use crate::fhir::types::{Endpoint, OperationOutcome, OutcomeIssue};
use crate::gateway::Gateway;
use crate::http::query;
use crate::studies::{FoundStudies, FoundStudy};

pub(super) async fn imaging_studies(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    let search = request.search(IMAGING_STUDY_PARAMETERS, &gateway.search)?;
    let found = gateway.studies.search(&search.criteria, access, request.freshness()).await?;
    let ids: Vec<_> = found.studies.iter().map(|study| study.uid().as_str()).collect();
    let page = Page::of(&search, &ids)?;
    let studies = found.studies.get(page.begin..page.end).unwrap_or_default();
    let form = form(&search.result);
    let mut entries = Vec::with_capacity(studies.len() + 4);
    if !search.result.only_count() {
        let resources = gateway.studies.assemble(studies, &form, request.freshness()).await?;
        for (study, resource) in studies.iter().zip(resources) {
            let id = study.uid().as_str();
            entries.push(entry(
                request,
                ResourceType::ImagingStudy,
                id,
                resource.rendered.json.clone(),
                Mode::Match,
            ));
        }
        for include in &search.result.includes {
            entries.extend(included(gateway, request, studies, *include)?);
        }
        distinct(&mut entries);
    }
    let mut searchset =
        page.searchset(ResourceType::ImagingStudy, &search, request, entries, left_out(&found));
    if !found.under_two_patients.is_empty() || found.nameless > 0 {
        // What was left out counts neither as a match nor as none.
        searchset.total = None;
    }
    finish(searchset).await
}

pub(super) async fn patients(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    let search = request.search(PATIENT_PARAMETERS, &gateway.search)?;
    let found = gateway.studies.search_patients(&search.criteria, access, request.freshness()).await?;
    let ids: Vec<_> = found.iter().map(|patient| patient.resource.id.as_str()).collect();
    let page = Page::of(&search, &ids)?;
    let form = form(&search.result);
    let mut entries = Vec::new();
    for patient in found.get(page.begin..page.end).unwrap_or_default() {
        let resource = render(&patient.resource, &form)?.json;
        entries.push(entry(request, ResourceType::Patient, &patient.resource.id, resource, Mode::Match));
    }
    finish(page.searchset(ResourceType::Patient, &search, request, entries, Vec::new())).await
}

pub(super) async fn endpoints(gateway: &Gateway, request: &FhirRequest<'_>) -> Result<Rendered, Failure> {
    let search = request.search(ENDPOINT_PARAMETERS, &gateway.search)?;
    let mut found: Vec<_> =
        gateway.studies.sources().iter().map(|source| endpoint_of(source, request)).collect();
    found.retain(|endpoint| search.criteria.iter().all(|criterion| endpoint_matches(criterion, endpoint)));
    found.sort_by(|one, other| one.id.cmp(&other.id));
    let ids: Vec<_> = found.iter().map(|endpoint| endpoint.id.as_str()).collect();
    let page = Page::of(&search, &ids)?;
    let form = form(&search.result);
    let mut entries = Vec::new();
    for endpoint in found.get(page.begin..page.end).unwrap_or_default() {
        entries.push(entry(
            request,
            ResourceType::Endpoint,
            &endpoint.id,
            render(endpoint, &form)?.json,
            Mode::Match,
        ));
    }
    finish(page.searchset(ResourceType::Endpoint, &search, request, entries, Vec::new())).await
}

fn endpoint_matches(criterion: &EndpointCriterion, endpoint: &Endpoint) -> bool {
    const STATUS_SYSTEM: &str = "http://hl7.org/fhir/endpoint-status";
    let any = |tokens: &[Token], system: Option<&str>, code: Option<&str>| {
        tokens.iter().any(|token| token.matches(system, code))
    };
    match criterion {
        EndpointCriterion::Id(ids) => ids.contains(&endpoint.id),
        EndpointCriterion::Name(strings) => {
            endpoint.name.as_deref().is_some_and(|name| strings.iter().any(|string| string.matches(name)))
        }
        EndpointCriterion::Status(tokens) => any(tokens, Some(STATUS_SYSTEM), Some(endpoint.status)),
        EndpointCriterion::ConnectionType(tokens) => {
            let kind = &endpoint.connection_type;
            any(tokens, kind.system.as_deref(), kind.code.as_deref())
        }
    }
}

/// Which of all matches stand on the page.
struct Page {
    begin: usize,
    end: usize,
    total: usize,
    next: Option<Cursor>,
}

impl Page {
    fn of<C>(search: &Search<C>, ids: &[&str]) -> Result<Self, Failure> {
        let total = ids.len();
        let begin = match &search.result.cursor {
            None => 0,
            Some(cursor) => Cursor::decode(cursor)
                .ok_or_else(|| {
                    let diagnostics = "Parameter _cursor: only a next link of this server has one.";
                    Failure::bad_request("value", diagnostics).at("http._cursor")
                })?
                .position(ids.iter().copied()),
        };
        if search.result.only_count() {
            return Ok(Self { begin: 0, end: 0, total, next: None });
        }
        let end = begin.saturating_add(search.result.count).min(total);
        let last = ids.get(end.wrapping_sub(1)).filter(|_| end < total);
        let next = last.map(|id| Cursor { after: (*id).to_owned(), passed: end });
        Ok(Self { begin, end, total, next })
    }

    fn searchset<C>(
        &self,
        kind: ResourceType,
        search: &Search<C>,
        request: &FhirRequest<'_>,
        mut entries: Vec<Entry>,
        left_out: Vec<OutcomeIssue>,
    ) -> Searchset {
        let pairs = |cursor: Option<&str>| {
            let applied = search.applied.iter().filter(|(name, _)| cursor.is_none() || name != "_cursor");
            let pairs = applied.map(|(name, value)| (name.as_str(), value.as_str()));
            let query = query::encode(pairs.chain(cursor.map(|cursor| ("_cursor", cursor))));
            let mark = if query.is_empty() { "" } else { "?" };
            format!("{}/{kind}{mark}{query}", request.base())
        };
        let ignored = search.ignored.iter().map(|name| OutcomeIssue {
            severity: "warning",
            code: "not-supported",
            diagnostics: format!(
                "Parameter {name} is not supported, or has no value; it was left out of the search."
            )
            .into(),
            expression: vec![format!("http.{name}")],
        });
        let issue: Vec<_> = ignored.chain(left_out).collect();
        if !issue.is_empty()
            && let Ok(outcome) = serde_json::to_vec(&OperationOutcome { issue })
        {
            entries.push(Entry { full_url: None, resource: outcome.into(), mode: Mode::Outcome });
        }
        Searchset {
            total: (search.result.total != Some(Total::None)).then_some(self.total),
            self_link: pairs(None),
            next_link: self.next.as_ref().map(|next| pairs(Some(&next.encode()))),
            entries,
        }
    }
}

/// What matches and could not be shown.
fn left_out(found: &FoundStudies) -> Vec<OutcomeIssue> {
    let warning = |code, diagnostics: String| OutcomeIssue {
        severity: "warning",
        code,
        diagnostics: diagnostics.into(),
        expression: Vec::new(),
    };
    let mut issues = Vec::new();
    if !found.under_two_patients.is_empty() {
        let list = found.under_two_patients.iter().map(StudyUid::as_str).collect::<Vec<_>>().join(", ");
        issues.push(warning(
            "multiple-matches",
            format!(
                "Left out, as each stands under more than one patient and nobody can tell whose it is: {list}. A search by \
                 patient gives what stands under that patient."
            ),
        ));
    }
    if found.nameless > 0 {
        let sentence = "matches were left out, as the archive has no legal Study Instance UID for them";
        issues.push(warning("incomplete", format!("{} {sentence}.", found.nameless)));
    }
    issues
}

fn entry(request: &FhirRequest<'_>, kind: ResourceType, id: &str, resource: Bytes, mode: Mode) -> Entry {
    Entry { full_url: Some(format!("{}/{kind}/{id}", request.base())), resource, mode }
}

/// What the studies of the page refer to.
fn included(
    gateway: &Gateway,
    request: &FhirRequest<'_>,
    studies: &[FoundStudy],
    include: StudyInclude,
) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    match include {
        StudyInclude::Endpoint => {
            let ids: HashSet<&str> = studies.iter().flat_map(FoundStudy::endpoints).collect();
            let held =
                gateway.studies.sources().iter().filter(|source| ids.contains(source.archive.id().as_str()));
            for source in held {
                let endpoint = endpoint_of(source, request);
                let resource = render(&endpoint, &Form::Full)?.json;
                entries.push(entry(request, ResourceType::Endpoint, &endpoint.id, resource, Mode::Include));
            }
        }
        StudyInclude::Patient | StudyInclude::Subject => {
            for patient in studies.iter().filter_map(|study| gateway.studies.patient_of(study)) {
                let resource = render(&patient.resource, &Form::Full)?.json;
                entries.push(entry(
                    request,
                    ResourceType::Patient,
                    &patient.resource.id,
                    resource,
                    Mode::Include,
                ));
            }
        }
    }
    Ok(entries)
}

/// A resource stands in a Bundle once (R4 bundle.html, bdl-7).
fn distinct(entries: &mut Vec<Entry>) {
    let mut seen = HashSet::new();
    entries.retain(|entry| entry.full_url.as_ref().is_none_or(|url| seen.insert(url.clone())));
}

/// A page of many studies takes milliseconds to put together and to compress.
async fn finish(searchset: Searchset) -> Result<Rendered, Failure> {
    let rendering = tokio::task::spawn_blocking(move || Rendered::new(searchset.to_json()));
    rendering.await.map_err(|_| Failure::internal())
}
