//! The dependencies of the FHIR handlers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::FhirRequest;
use crate::clock::SharedClock;
use crate::config;
use crate::http::sealing::SealingKeys;
use crate::mapping::Guide;
use crate::request_priority::RequestPriority;
use crate::studies::{FailedArchives, Studies};
use fhir_r4::search::Criterion;
use fhir_r4::types::ImagingStudy;

/// The dependencies of the FHIR handlers, built once at startup.
#[derive(Debug, Clone)]
pub struct FhirContext {
    /// The studies of all archives.
    pub studies: Studies,
    /// The implementation guides that resources conform to in addition to R4.
    pub guides: Arc<BTreeSet<Guide>>,
    /// Whether web pages of other origins may read responses (CORS).
    pub cors: bool,
    /// The limits of a search.
    pub limits: Arc<config::SearchConfig>,
    /// The key that seals page links.
    pub link_key: Arc<SealingKeys>,
    /// The clock for the dates of responses.
    pub clock: SharedClock,
}

impl FhirContext {
    /// Returns the same dependencies, for one interaction of `request`.
    #[must_use]
    pub(super) fn for_interaction(&self, request: &FhirRequest<'_>) -> Self {
        if request.is_strict() {
            self.requiring_every_archive()
        } else if request.accepts_partial_answers(self.limits.partial) {
            Self { studies: self.studies.accepting_partial_answers(), ..self.clone() }
        } else {
            self.clone()
        }
    }

    /// Returns the same dependencies, for a response that depends on every archive.
    #[must_use]
    pub(super) fn requiring_every_archive(&self) -> Self {
        Self { studies: self.studies.requiring_every_archive(), ..self.clone() }
    }

    /// Returns the same dependencies, for a search for studies that match `criteria`, which may name archives.
    #[must_use]
    pub(super) fn for_named_archives(&self, criteria: &[Criterion<ImagingStudy>]) -> Self {
        Self { studies: self.studies.for_named_archives(criteria), ..self.clone() }
    }

    /// Returns the same dependencies, for a client request with this priority, which records the archives that its response may be without.
    #[must_use]
    pub fn for_request(&self, priority: &RequestPriority, failed_archives: &FailedArchives) -> Self {
        let studies = self.studies.with_priority(priority).recording_failures(failed_archives);
        Self { studies, ..self.clone() }
    }
}
