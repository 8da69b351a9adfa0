//! The parts of a search page that do not depend on the searched type: links, the total, and warnings about the search.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::archive_id::ArchiveId;
use crate::encoded_resource::EncodedResource;
use crate::error::{Failure, to_sentence};
use crate::fhir::FhirRequest;
use crate::fhir::bundle::{Mode, SearchEntry, Searchset};
use crate::http::query;
use crate::http::sealing::SealingKeys;
use crate::studies::StudiesError;
use fhir_r4::search::{
    ResultParameters, Search, Searchable, Total, is_result_parameter, parameter_expression,
};
use fhir_r4::types::{OperationOutcome, OutcomeIssue};

/// The pages of one search.
pub(in crate::fhir) struct Pages<'a> {
    /// The key that seals cursors.
    key: &'a SealingKeys,
    /// The URL of the search, such as `[base]/ImagingStudy`.
    url: String,
    /// The path of the search below the base URL, such as `ImagingStudy`.
    path: String,
    /// The applied parameters without the cursor.
    query: String,
    /// The parameters that select a format, which the links to other pages contain too.
    format: String,
    cursor: Option<&'a str>,
    is_count_only: bool,
    has_total: bool,
    issues: Vec<OutcomeIssue>,
}

/// One page of the search.
#[derive(Debug)]
pub(in crate::fhir) struct SearchPage<P> {
    /// The number of matches on all pages, if it is known exactly.
    pub(in crate::fhir) total: Option<usize>,
    /// The cursor of the previous page.
    pub(in crate::fhir) previous: Option<P>,
    /// The cursor of the next page.
    pub(in crate::fhir) next: Option<P>,
    pub(in crate::fhir) entries: Vec<SearchEntry>,
}

/// The parameters of a search after parsing, independent of the searched type.
#[derive(Debug, Clone, Copy)]
pub(in crate::fhir) struct InterpretedParameters<'a> {
    /// The parameters that control the result, such as `_count`.
    pub(in crate::fhir) result: &'a ResultParameters,
    /// The names and values of the parameters that were applied.
    pub(in crate::fhir) applied: &'a [(String, String)],
    /// The names of the parameters that were ignored, with the reason.
    pub(in crate::fhir) ignored: &'a [(String, String)],
    /// Warnings about parameters that were applied: the name and the text.
    pub(in crate::fhir) warnings: &'a [(String, &'static str)],
}

impl<'a, R: Searchable> From<&'a Search<R>> for InterpretedParameters<'a> {
    fn from(search: &'a Search<R>) -> Self {
        let Search { result, applied, ignored, warnings, .. } = search;
        Self { result, applied, ignored, warnings }
    }
}

impl<'a> Pages<'a> {
    /// Creates the pages of a search at `path` below the base URL.
    pub(in crate::fhir) fn new(
        key: &'a SealingKeys,
        request: &FhirRequest<'_>,
        path: &str,
        search: impl Into<InterpretedParameters<'a>>,
    ) -> Self {
        let search = search.into();
        let to_issue = |code, name: &str, diagnostics: String| OutcomeIssue {
            severity: "warning",
            code,
            diagnostics: diagnostics.into(),
            expression: parameter_expression(name).into_iter().collect(),
        };
        let ignored = search.ignored.iter().map(|(name, reason)| {
            let diagnostics = if search.applied.iter().any(|(applied, _)| applied == name) {
                // Another part of the value, or another value of the parameter, was applied.
                format!("Parameter `{name}`: {reason}")
            } else if is_result_parameter(name) {
                format!("Parameter `{name}` was ignored. {reason}")
            } else if parameter_expression(name).is_none() {
                format!(
                    "A search parameter whose name is not shown here was ignored, so these results are NOT restricted by it. {reason}"
                )
            } else {
                format!(
                    "Search parameter `{name}` was ignored, so these results are NOT restricted by it. {reason}"
                )
            };
            to_issue("not-supported", name, diagnostics)
        });
        let warnings = search
            .warnings
            .iter()
            .map(|(name, text)| to_issue("informational", name, format!("Parameter {name}: {text}.")));
        let applied = search.applied.iter().filter(|(name, _)| name != "_cursor");
        let formats = ["_format", "_pretty"].into_iter();
        let format = formats.filter_map(|name| Some((name, request.parameter(name)?)));
        Self {
            key,
            url: format!("{}{}{path}", request.base(), if path.is_empty() { "" } else { "/" }),
            path: path.to_owned(),
            query: query::encode(applied.map(|(name, value)| (name.as_str(), value.as_str()))),
            format: query::encode(format),
            cursor: search.result.cursor.as_deref(),
            is_count_only: search.result.is_count_only(),
            has_total: search.result.total != Some(Total::None),
            issues: ignored.chain(warnings).collect(),
        }
    }

    /// Opens the cursor of the requested page; the first page has none.
    pub(in crate::fhir) fn open_cursor<P: DeserializeOwned>(&self) -> Result<Option<P>, Failure> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let cursor = self.key.open(&self.sealing_context(), cursor);
        cursor.map(Some).ok_or_else(|| {
            let diagnostics =
                "Parameter _cursor: not valid here. It is valid only in a page link of this server with the parameters of that link; repeat the search without it.";
            Failure::bad_request("value", diagnostics).with_expression("http._cursor")
        })
    }

    /// Adds a warning about the search.
    pub(in crate::fhir) fn warn(&mut self, code: &'static str, diagnostics: String) {
        let (diagnostics, expression) = (diagnostics.into(), Vec::new());
        self.issues.push(OutcomeIssue { severity: "warning", code, diagnostics, expression });
    }

    /// Adds information that the client has requested.
    pub(in crate::fhir) fn inform(&mut self, diagnostics: String) {
        let (diagnostics, expression) = (diagnostics.into(), Vec::new());
        self.issues.push(OutcomeIssue {
            severity: "information",
            code: "informational",
            diagnostics,
            expression,
        });
    }

    /// Returns a page as a Bundle. Without the `missing` archives, the matches and their number are not all known.
    pub(in crate::fhir) fn into_searchset<P: Serialize>(
        mut self,
        page: SearchPage<P>,
        missing: &[(ArchiveId, StudiesError)],
    ) -> Searchset {
        self.issues.splice(0..0, missing.iter().map(missing_archive_issue));
        let mut links = vec![("self", self.page_url(self.cursor))];
        if !self.is_count_only {
            links.push(("first", self.page_url(None)));
            let seal = |cursor: &P| self.key.seal(&self.sealing_context(), cursor);
            links.extend(
                page.previous.as_ref().map(|cursor| ("previous", self.page_url(Some(&seal(cursor))))),
            );
            links.extend(page.next.as_ref().map(|cursor| ("next", self.page_url(Some(&seal(cursor))))));
        }
        let mut entries = if self.is_count_only { Vec::new() } else { page.entries };
        if !self.issues.is_empty()
            && let Ok(outcome) = serde_json::to_vec(&OperationOutcome { issue: self.issues })
        {
            // The outcome is the first entry, so that a client reads it before the matches.
            entries.insert(0, SearchEntry { full_url: None, resource: outcome.into(), mode: Mode::Outcome });
        }
        let total = page.total.filter(|_| self.has_total && missing.is_empty());
        Searchset { total, links, entries, last_updated: None }
    }

    /// Returns the URL of the page at a cursor, or of the first page.
    fn page_url(&self, cursor: Option<&str>) -> String {
        let cursor = cursor.map(|cursor| query::encode([("_cursor", cursor)])).unwrap_or_default();
        let parts = [self.query.as_str(), &self.format, &cursor];
        let query = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}{separator}{query}", self.url)
    }

    /// Returns the search that a cursor is bound to. The search does not include the base URL, which may differ between clients.
    fn sealing_context(&self) -> String {
        format!("{}?{}", self.path, self.query)
    }
}

/// Returns the issue about an archive that is missing from a page.
fn missing_archive_issue((archive, error): &(ArchiveId, StudiesError)) -> OutcomeIssue {
    let reason = to_sentence(&error.to_string());
    let diagnostics = format!(
        "This result is incomplete: the studies of archive {archive} may be missing, and studies in this result may lack the part that \
         it contains (meta.tag SUBSETTED). {reason}"
    );
    OutcomeIssue {
        severity: "warning",
        code: "incomplete",
        diagnostics: diagnostics.into(),
        expression: Vec::new(),
    }
}

/// Encodes a page on a blocking thread, because assembling and compressing many studies takes milliseconds.
pub(in crate::fhir) async fn encode(searchset: Searchset) -> Result<EncodedResource, Failure> {
    let encoding = tokio::task::spawn_blocking(move || EncodedResource::new(searchset.to_json()));
    encoding.await.map_err(|_| Failure::internal())
}
