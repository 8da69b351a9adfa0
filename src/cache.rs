//! The memory cache: assembled studies, the rows of recent searches, the identifiers behind Patient ids and small responses of
//! archives, bounded by the bytes that they occupy.
//!
//! Cached bytes never depend on the caller or on the public base URL: access is decided outside the cache, on every hit, and
//! every reference inside a cached resource is relative. The module neither handles HTTP requests nor queries archives; its
//! callers insert the entries. The injected clock decides whether an entry is fresh.

mod key;
mod rendered;
mod single_flight;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

pub use key::Form;
pub use rendered::{LastModified, Rendered};
pub use single_flight::{Interrupted, SingleFlight};

use crate::change_log::Version;
use crate::clock::SharedClock;
use crate::fingerprint::Fingerprint;
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, StudyUid};
use key::CacheKey;

/// Memory per entry besides its own bytes: the key, bookkeeping of the cache, headers of the allocations.
const OVERHEAD: usize = 512;

/// An assembled study as bytes, and what shows whether it is still current.
#[derive(Debug)]
pub struct StudyEntry {
    /// The resource.
    pub rendered: Rendered,
    /// The fingerprint of the rows that it was made from.
    pub fingerprint: Fingerprint,
    /// The version of the study that the resource contains.
    pub version: Version,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archives last confirmed it.
    pub checked_at: Duration,
}

/// The rows that one archive returned for one search.
#[derive(Debug)]
pub struct SearchRows {
    /// The rows as received, without repetitions.
    pub rows: Vec<Attributes>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when they were requested.
    pub asked_at: Duration,
}

/// The patient behind a Patient id, in the form in which an archive can be queried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KnownPatient {
    /// The patient with this PatientID (0010,0020), as the archive writes it.
    Identified(Box<str>),
    /// A patient without a PatientID: the one of this study.
    OfStudy(StudyUid),
}

/// A complete small response of one archive, without any URL of a caller.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its media type.
    pub content_type: HeaderValue,
    /// The archive's validators: ETag, Last-Modified.
    pub validators: HeaderMap,
    /// The complete body.
    pub bytes: Bytes,
    /// The fingerprint of the rows that described it, if they were requested before it.
    pub fingerprint: Option<Fingerprint>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archive last confirmed it.
    pub checked_at: Duration,
}

impl Answer {
    /// The caller's headers with the archive's own validators as conditions instead of the caller's, for revalidation.
    pub fn conditions(&self, headers: &HeaderMap) -> HeaderMap {
        let mut headers = headers.clone();
        for name in
            [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        {
            headers.remove(name);
        }
        for (validator, condition) in
            [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)]
        {
            if let Some(value) = self.validators.get(validator) {
                headers.insert(condition, value.clone());
            }
        }
        headers
    }
}

#[derive(Debug, Clone)]
enum Kept {
    Study(Arc<StudyEntry>),
    Rows(Arc<SearchRows>),
    Patient(Arc<KnownPatient>),
    Answer(Arc<Answer>),
}

impl Kept {
    fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Study(entry) => entry.rendered.size(),
                Self::Rows(rows) => rows.rows.iter().map(Attributes::size).sum(),
                Self::Patient(patient) => match patient.as_ref() {
                    KnownPatient::Identified(id) => id.len(),
                    KnownPatient::OfStudy(study) => study.as_str().len(),
                },
                Self::Answer(answer) => answer.bytes.len(),
            }
    }
}

/// The memory cache. Clones share the same cache.
#[derive(Debug, Clone)]
pub struct Cache {
    entries: moka::sync::Cache<CacheKey, Kept>,
    fresh_for: Duration,
    clock: SharedClock,
}

impl Cache {
    /// A cache of at most `memory` bytes, whose entries are fresh for `fresh_for`.
    pub fn new(memory: u64, fresh_for: Duration, clock: SharedClock) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(memory)
            .weigher(|key: &CacheKey, kept: &Kept| {
                u32::try_from(key.size() + kept.size()).unwrap_or(u32::MAX)
            })
            .build();
        Self { entries, fresh_for, clock }
    }

    /// Whether something confirmed at `checked_at` may be served without revalidation.
    pub fn is_fresh(&self, checked_at: Duration) -> bool {
        self.clock.elapsed().saturating_sub(checked_at) < self.fresh_for
    }

    /// The clock's elapsed time, for new entries.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The study in this form, fresh or not.
    pub fn study(&self, study: &StudyUid, form: &Form) -> Option<Arc<StudyEntry>> {
        match self.entries.get(&CacheKey::Study(study.clone(), form.clone())) {
            Some(Kept::Study(entry)) => Some(entry),
            _ => None,
        }
    }

    /// Inserts the study in this form.
    pub fn keep_study(&self, study: &StudyUid, form: &Form, entry: Arc<StudyEntry>) {
        self.entries.insert(CacheKey::Study(study.clone(), form.clone()), Kept::Study(entry));
    }

    /// The rows of a search, if still fresh; `query` is the canonical text of the upstream request.
    pub fn rows(&self, archive: &ArchiveId, query: &str) -> Option<Arc<SearchRows>> {
        match self.entries.get(&CacheKey::Rows(archive.clone(), query.into())) {
            Some(Kept::Rows(rows)) if self.is_fresh(rows.asked_at) => Some(rows),
            _ => None,
        }
    }

    /// Inserts the rows of a search.
    pub fn insert_rows(&self, archive: &ArchiveId, query: &str, rows: Arc<SearchRows>) {
        self.entries.insert(CacheKey::Rows(archive.clone(), query.into()), Kept::Rows(rows));
    }

    /// The identifier behind the Patient id `id`, if an archive recently returned the patient.
    pub fn patient(&self, id: &str) -> Option<Arc<KnownPatient>> {
        match self.entries.get(&CacheKey::Patient(id.into())) {
            Some(Kept::Patient(patient)) => Some(patient),
            _ => None,
        }
    }

    /// Inserts the identifier behind the Patient id `id`.
    pub fn keep_patient(&self, id: &str, patient: KnownPatient) {
        let key = CacheKey::Patient(id.into());
        if !self.entries.contains_key(&key) {
            self.entries.insert(key, Kept::Patient(Arc::new(patient)));
        }
    }

    /// The archive's response to the request `key`, fresh or not.
    pub fn answer(&self, archive: &ArchiveId, key: &str) -> Option<Arc<Answer>> {
        match self.entries.get(&CacheKey::Answer(archive.clone(), key.into())) {
            Some(Kept::Answer(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Inserts the archive's response to the request `key`.
    pub fn keep_answer(&self, archive: &ArchiveId, key: &str, answer: Arc<Answer>) {
        self.entries.insert(CacheKey::Answer(archive.clone(), key.into()), Kept::Answer(answer));
    }

    /// Removes the study in this form.
    pub fn forget_study(&self, study: &StudyUid, form: &Form) {
        self.entries.invalidate(&CacheKey::Study(study.clone(), form.clone()));
    }

    /// The number of entries and bytes, after pending evictions.
    pub fn usage(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests;
