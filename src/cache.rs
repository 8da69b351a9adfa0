//! What the gateway remembers: rendered studies, the rows of recent searches, what a Patient id stands for and small answers
//! of archives, in one store that is bounded by the bytes it really holds.
//!
//! Cached bytes never depend on who asked or under which address: access is decided outside, on every hit, and every
//! reference inside a cached resource is relative. Nothing here speaks HTTP or asks an archive; what is kept is handed in.
//! Whether a thing is still fresh is told by the clock that the gateway was given.

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

/// What an entry costs besides its own bytes: key, bookkeeping of the store, the allocations' heads.
const OVERHEAD: usize = 512;

/// An assembled study as it was rendered, and what tells whether that is still true.
#[derive(Debug)]
pub struct StudyEntry {
    /// The resource.
    pub rendered: Rendered,
    /// Of the rows that it was made of.
    pub fingerprint: Fingerprint,
    /// Which version of the study it is, as is written in it.
    pub version: Version,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archives last confirmed it.
    pub checked_at: Duration,
}

/// The rows that one archive gave to one search.
#[derive(Debug)]
pub struct SearchRows {
    /// As they came, already without repetitions.
    pub rows: Vec<Attributes>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when they were asked for.
    pub asked_at: Duration,
}

/// What a Patient id stands for, as an archive can be asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KnownPatient {
    /// The patient with this PatientID (0010,0020), as the archive writes it.
    Identified(Box<str>),
    /// A patient without one: whoever this study is of.
    OfStudy(StudyUid),
}

/// A small answer of one archive, whole, with no address of anybody's in it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its media type.
    pub content_type: HeaderValue,
    /// What the archive tells it from other contents by: ETag, Last-Modified.
    pub validators: HeaderMap,
    /// All of it.
    pub bytes: Bytes,
    /// Of the rows that told of it, where they were asked for before it was.
    pub fingerprint: Option<Fingerprint>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archive last confirmed it.
    pub checked_at: Duration,
}

impl Answer {
    /// What a caller says, with the archive's own conditions in place of the caller's: is it still this one?
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

/// The one store. Cloning it gives another handle to the same store.
#[derive(Debug, Clone)]
pub struct Cache {
    entries: moka::sync::Cache<CacheKey, Kept>,
    fresh_for: Duration,
    clock: SharedClock,
}

impl Cache {
    /// A store that holds `memory` bytes at most and trusts an entry without asking again for `fresh_for`.
    pub fn new(memory: u64, fresh_for: Duration, clock: SharedClock) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(memory)
            .weigher(|key: &CacheKey, kept: &Kept| {
                u32::try_from(key.size() + kept.size()).unwrap_or(u32::MAX)
            })
            .build();
        Self { entries, fresh_for, clock }
    }

    /// Whether something that was true at `checked_at` may be served without asking again.
    pub fn is_fresh(&self, checked_at: Duration) -> bool {
        self.clock.elapsed().saturating_sub(checked_at) < self.fresh_for
    }

    /// The clock's time, to be put into entries.
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

    /// Remembers the study in this form.
    pub fn keep_study(&self, study: &StudyUid, form: &Form, entry: Arc<StudyEntry>) {
        self.entries.insert(CacheKey::Study(study.clone(), form.clone()), Kept::Study(entry));
    }

    /// The rows of a search that is still fresh; `query` is the canonical text of the upstream request.
    pub fn rows(&self, archive: &ArchiveId, query: &str) -> Option<Arc<SearchRows>> {
        match self.entries.get(&CacheKey::Rows(archive.clone(), query.into())) {
            Some(Kept::Rows(rows)) if self.is_fresh(rows.asked_at) => Some(rows),
            _ => None,
        }
    }

    /// Remembers the rows of a search.
    pub fn insert_rows(&self, archive: &ArchiveId, query: &str, rows: Arc<SearchRows>) {
        self.entries.insert(CacheKey::Rows(archive.clone(), query.into()), Kept::Rows(rows));
    }

    /// What the Patient id `id` stands for, if an archive has named it lately.
    pub fn patient(&self, id: &str) -> Option<Arc<KnownPatient>> {
        match self.entries.get(&CacheKey::Patient(id.into())) {
            Some(Kept::Patient(patient)) => Some(patient),
            _ => None,
        }
    }

    /// Remembers what the Patient id `id` stands for.
    pub fn keep_patient(&self, id: &str, patient: KnownPatient) {
        let key = CacheKey::Patient(id.into());
        if !self.entries.contains_key(&key) {
            self.entries.insert(key, Kept::Patient(Arc::new(patient)));
        }
    }

    /// The answer to what `key` says was asked of the archive, fresh or not.
    pub fn answer(&self, archive: &ArchiveId, key: &str) -> Option<Arc<Answer>> {
        match self.entries.get(&CacheKey::Answer(archive.clone(), key.into())) {
            Some(Kept::Answer(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Remembers the answer to what `key` says was asked of the archive.
    pub fn keep_answer(&self, archive: &ArchiveId, key: &str, answer: Arc<Answer>) {
        self.entries.insert(CacheKey::Answer(archive.clone(), key.into()), Kept::Answer(answer));
    }

    /// Forgets the study in this form.
    pub fn forget_study(&self, study: &StudyUid, form: &Form) {
        self.entries.invalidate(&CacheKey::Study(study.clone(), form.clone()));
    }

    /// How many entries and bytes are held, after the store has settled.
    pub fn usage(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests;
