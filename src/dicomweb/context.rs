//! The state that all DICOMweb requests share.

use std::sync::Arc;

use super::limits::DicomwebLimits;
use super::patient_comparison::PatientComparison;
use super::rendering::RenderPool;
use super::response_cache::ResponseCache;
use super::synthesis::FrameCache;
use super::url_rewrite::query_seal::QuerySeal;
use crate::http::sealing::SealingKeys;
use crate::upstream::Archive;

/// The shared state of all DICOMweb requests; built once.
#[derive(Debug, Clone)]
pub struct DicomwebContext {
    /// The cached responses.
    pub response_cache: ResponseCache,
    /// The cached frames that the gateway extracts from instances.
    pub frames: FrameCache,
    /// The limits of responses that the gateway assembles.
    pub limits: DicomwebLimits,
    /// The permits for rendering images.
    pub render_pool: RenderPool,
    /// The comparison of the patients of studies with the same UID.
    pub patients: PatientComparison,
    /// The key that seals the queries of the archives' URLs.
    pub url_key: Arc<SealingKeys>,
}

impl DicomwebContext {
    /// Returns the seal of the queries of `archive`'s URLs.
    pub(super) fn query_seal(&self, archive: &Archive) -> QuerySeal {
        QuerySeal::new(Arc::clone(&self.url_key), archive.id().clone())
    }
}
