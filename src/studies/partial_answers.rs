//! Answers without archives that fail. By default an archive that fails is an error of the request. A client may accept an answer
//! without it (`search.partial`, `Prefer: handling=lenient`), and a request that names archives does not depend on the others.
//!
//! The failures are collected for one request, so that its response reports them, and no further query is sent to an archive that
//! has failed. Studies whose assembly begins after the first failure are assembled without the archive: they have the tag SUBSETTED and
//! no version, and neither the cache nor the change log receives them. A study whose assembly has begun before is complete or an
//! error, because the rows of every archive showed which archives contain it: its tag and its version are the same as without the
//! failure.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::assembly::AssembledStudy;
use super::candidates::is_named;
use super::deep_check::ContentAge;
use super::serialization::without_version;
use super::study_copies::{self, StudyCopy};
use super::{
    ArchiveSource, Depth, FoundStudy, Freshness, LoadResult, OmittedCounts, ReadOutcome, Representation,
    Studies, StudiesError,
};
use crate::upstream::{ArchiveError, ArchiveErrorKind, ArchiveId, ErrorClass};
use fhir_r4::search::Criterion;
use fhir_r4::types::ImagingStudy;

/// The archives that may be missing from the answer to one request, and those that are.
#[derive(Debug)]
pub(super) struct PartialAnswer {
    /// The archives whose failure is an error of the request.
    required: BTreeSet<ArchiveId>,
    /// Maximum duration of a query to one of the others; `None` if only the deadline of the request limits it.
    pub(super) timeout: Option<Duration>,
    /// The errors of the archives that failed.
    failures: Mutex<BTreeMap<ArchiveId, StudiesError>>,
}

/// The archives that failed although the response to one client request may be without them, with the errors, for the log. Unlike a
/// [`PartialAnswer`], it is shared by all entries of a batch.
#[derive(Debug, Clone, Default)]
pub struct FailedArchives(Arc<Mutex<BTreeMap<ArchiveId, StudiesError>>>);

impl FailedArchives {
    fn record(&self, archive: &ArchiveId, error: &StudiesError) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.entry(archive.clone()).or_insert_with(|| error.clone());
    }

    /// Returns the archives, separated by commas, and their errors; `None` if no archive failed.
    pub fn description(&self) -> Option<(String, String)> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let archives: Vec<_> = failures.keys().map(ArchiveId::as_str).collect();
        let errors: Vec<_> = failures.values().map(ToString::to_string).collect();
        (!failures.is_empty()).then(|| (archives.join(", "), errors.join("; ")))
    }
}

impl PartialAnswer {
    /// Whether the answer may be without `archive`, which failed with `error`. An archive whose calls are limited by the gateway itself
    /// may be missing only from an answer whose client accepts that.
    fn accepts(&self, archive: &ArchiveId, error: &StudiesError) -> bool {
        let is_accepted = match error {
            StudiesError::Archive(cause) if cause.is_overload() => self.timeout.is_some(),
            error => error.as_archive_failure().is_some(),
        };
        is_accepted && !self.required.contains(archive)
    }

    fn lock_failures(&self) -> MutexGuard<'_, BTreeMap<ArchiveId, StudiesError>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Studies {
    /// Returns the same studies for one client request, which records the archives that its response may be without.
    #[must_use]
    pub fn recording_failures(&self, failed_archives: &FailedArchives) -> Self {
        Self { failed_archives: failed_archives.clone(), ..self.clone() }
    }

    /// Returns the same studies for one request that accepts an answer without the archives that fail, except those in `required`.
    #[must_use]
    pub(super) fn allowing_failures(&self, required: BTreeSet<ArchiveId>, timeout: Option<Duration>) -> Self {
        let answer = PartialAnswer { required, timeout, failures: Mutex::default() };
        Self { partial_answer: Some(Arc::new(answer)), ..self.clone() }
    }

    /// Returns the same studies for one request whose client accepts an answer without the archives that fail.
    #[must_use]
    pub fn accepting_partial_answers(&self) -> Self {
        self.allowing_failures(BTreeSet::new(), Some(self.limits.partial_timeout))
    }

    /// Returns the same studies for one request whose client requires every archive.
    #[must_use]
    pub fn requiring_every_archive(&self) -> Self {
        Self { partial_answer: None, requires_every_archive: true, ..self.clone() }
    }

    /// Returns the same studies for a search that names archives by `endpoint`: it does not depend on the others.
    #[must_use]
    pub fn for_named_archives(&self, criteria: &[Criterion<ImagingStudy>]) -> Self {
        let is_named_by_one = |source: &&ArchiveSource| {
            criteria.iter().any(|criterion| is_named(source, criterion) == Some(true))
        };
        let named: BTreeSet<_> =
            self.sources.iter().filter(is_named_by_one).map(|source| source.archive.id().clone()).collect();
        if self.requires_every_archive || self.partial_answer.is_some() || named.is_empty() {
            return self.clone();
        }
        self.allowing_failures(named, None)
    }

    /// Returns the same studies for a search. A search by `_lastUpdated` requires every archive, because a client that misses a change
    /// never requests it again.
    pub(super) fn for_search_by_last_updated(&self, uses_last_updated: bool) -> Cow<'_, Self> {
        if uses_last_updated && self.partial_answer.is_some() {
            Cow::Owned(self.requiring_every_archive())
        } else {
            Cow::Borrowed(self)
        }
    }

    /// Returns the archives that are missing from the answer to this request, with the error of each.
    pub fn missing_archives(&self) -> Vec<(ArchiveId, StudiesError)> {
        let Some(answer) = &self.partial_answer else { return Vec::new() };
        answer.lock_failures().iter().map(|(archive, error)| (archive.clone(), error.clone())).collect()
    }

    /// Whether an archive is missing from the answer to this request.
    pub(super) fn has_missing_archives(&self) -> bool {
        self.partial_answer.as_ref().is_some_and(|answer| !answer.lock_failures().is_empty())
    }

    /// Returns the error of a missing archive, if there is one: what no other archive contains, this one may contain.
    pub fn require_complete_answer(&self) -> Result<(), StudiesError> {
        match self.missing_archives().into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Returns the error of a missing archive if every archive is missing.
    pub(super) fn require_an_archive(&self) -> Result<(), StudiesError> {
        let missing = self.missing_archives();
        let is_missing = |source: &ArchiveSource| missing.iter().any(|(id, _)| id == source.archive.id());
        if self.sources.iter().all(is_missing) { self.require_complete_answer() } else { Ok(()) }
    }

    /// Returns how long an archive may take before it is missing from the answer; `None` if that is not limited, or if every archive is
    /// required.
    pub fn partial_timeout(&self) -> Option<Duration> {
        self.partial_answer.as_ref()?.timeout
    }

    /// Awaits a query to the archive with `id`; `None` if the archive fails, or has already failed, and may be missing from the answer.
    pub async fn query_unless_failed<T, E: ArchiveFailure>(
        &self,
        id: &ArchiveId,
        query: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        let Some(answer) = self.partial_answer.as_ref().filter(|answer| !answer.required.contains(id)) else {
            return query.await.map(Some);
        };
        if answer.lock_failures().contains_key(id) {
            return Ok(None);
        }
        let result = match answer.timeout {
            Some(timeout) => tokio::time::timeout(timeout, query).await.unwrap_or_else(|_| {
                let timeout = ArchiveErrorKind::Timeout(timeout);
                Err(StudiesError::from(ArchiveError { archive: id.clone(), kind: timeout }).into())
            }),
            None => query.await,
        };
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) => match error.as_archive_failure().filter(|failure| answer.accepts(id, failure)) {
                Some(failure) => {
                    self.record_missing_archive(id, &failure);
                    Ok(None)
                }
                None => Err(error),
            },
        }
    }

    /// Awaits one query to each archive at the same time. Returns the results of the archives that did not fail. If every archive
    /// fails, the error of one of them is returned.
    pub(super) async fn query_each<'a, T, F>(
        &self,
        queries: impl Iterator<Item = (&'a ArchiveSource, F)>,
    ) -> Result<Vec<(&'a ArchiveSource, T)>, StudiesError>
    where
        F: Future<Output = Result<T, StudiesError>>,
    {
        let queries = queries.map(|(source, query)| async move {
            let found = self.query_unless_failed(source.archive.id(), query).await?;
            Ok::<_, StudiesError>((source, found))
        });
        let results = try_join_all(queries).await?;
        if !results.is_empty() && results.iter().all(|(_, found)| found.is_none()) {
            self.require_complete_answer()?;
        }
        Ok(results.into_iter().filter_map(|(source, found)| Some((source, found?))).collect())
    }

    /// Whether the answer may be without the archive that failed with `error` while a study was read. If so, the archive is
    /// missing from now on.
    pub(super) fn tolerates(&self, error: &StudiesError) -> bool {
        let (Some(answer), StudiesError::Archive(cause)) = (&self.partial_answer, error) else {
            return false;
        };
        let is_tolerated = answer.accepts(&cause.archive, error);
        if is_tolerated {
            self.record_missing_archive(&cause.archive, error);
        }
        is_tolerated
    }

    /// Assembles a study whose version is not known: without the missing archives if `is_partial`, or while the store is away. `copies`
    /// are its rows, with the series that are already known.
    pub(super) async fn assemble_without_version(
        &self,
        study: &FoundStudy,
        representation: &Representation,
        freshness: Freshness,
        copies: Vec<StudyCopy>,
        is_partial: bool,
    ) -> LoadResult {
        let is_row_only = study_copies::required_depth(representation.depth(), copies.len()) == Depth::Study;
        let content_age = self.content_age(study, self.cache.elapsed(), is_row_only);
        let cached = (freshness == Freshness::Cached).then(|| self.cached_if_current(study, representation));
        let (json, omitted) = if let Some(cached) = cached.flatten() {
            (cached.encoded.json.clone(), cached.omitted)
        } else {
            let fetched = self.fetch_within_timeout(copies, representation).await?;
            (fetched.json.into(), fetched.omitted)
        };
        unversioned(study.clone(), representation.clone(), json, omitted, content_age, is_partial).await
    }

    /// Returns the outcome of a read by `partial`, which accepted a partial answer, if this request accepts it too. The client may not
    /// accept partial answers, but a study does not depend on the archives after the first one that contains it.
    pub(super) fn accept_missing(
        &self,
        outcome: ReadOutcome,
        partial: &Self,
    ) -> Result<ReadOutcome, StudiesError> {
        let missing: BTreeMap<_, _> = partial.missing_archives().into_iter().collect();
        let ReadOutcome::Found(study) = outcome else { return Ok(outcome) };
        let mut before_first =
            self.sources.iter().map(|source| source.archive.id()).take_while(|id| !study.is_in(id));
        let required = before_first.find_map(|id| missing.get(id));
        match required {
            Some(error) if self.partial_answer.is_none() => Err(error.clone()),
            _ if missing.is_empty() => Ok(ReadOutcome::Found(study)),
            _ => Ok(ReadOutcome::Partial(study, missing)),
        }
    }

    /// Records that the answer to this request is without an archive, which failed with `error`.
    pub fn record_missing_archive(&self, archive: &ArchiveId, error: &StudiesError) {
        let Some(answer) = &self.partial_answer else { return };
        if let Entry::Vacant(entry) = answer.lock_failures().entry(archive.clone()) {
            entry.insert(error.clone());
            self.failed_archives.record(archive, error);
        }
    }
}

/// Returns the study with the JSON of a version, without this version.
pub(super) async fn unversioned(
    study: FoundStudy,
    representation: Representation,
    json: Bytes,
    omitted: OmittedCounts,
    content_age: ContentAge,
    is_partial: bool,
) -> LoadResult {
    // This takes milliseconds for a study of thousands of instances.
    let serialization = tokio::task::spawn_blocking(move || {
        let json = without_version(&json, &representation, is_partial)?;
        Ok(Arc::new(AssembledStudy::unversioned(&study, json, omitted, content_age)))
    });
    serialization.await.map_err(|_| StudiesError::Unwritable)?
}

/// Returns how long an archive may take before it is missing from the answer to a request with this timeout: half of it, so the other
/// half remains for reading the studies of the other archives.
pub fn partial_timeout(request_timeout: Duration) -> Duration {
    request_timeout / 2
}

/// An error of a query to an archive.
pub trait ArchiveFailure: From<StudiesError> {
    /// Returns the error of the archive, if it concerns the whole archive, and a narrower search would fail too.
    fn as_archive_failure(&self) -> Option<StudiesError>;
}

impl ArchiveFailure for StudiesError {
    fn as_archive_failure(&self) -> Option<StudiesError> {
        let is_failure = match self {
            Self::Archive(error) => error.class() != ErrorClass::TooCostly,
            Self::LoadTimeout(_) => true,
            _ => false,
        };
        is_failure.then(|| self.clone())
    }
}
