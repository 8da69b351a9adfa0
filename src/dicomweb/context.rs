//! The state that all DICOMweb requests share.

use super::limits::DicomwebLimits;
use super::patient_comparison::PatientComparison;
use super::rendering::RenderPool;
use super::response_cache::ResponseCache;

/// The shared state of all DICOMweb requests; built once.
#[derive(Debug, Clone)]
pub struct DicomwebContext {
    /// The cached responses.
    pub response_cache: ResponseCache,
    /// The limits of responses that the gateway assembles.
    pub limits: DicomwebLimits,
    /// The permits for rendering images.
    pub render_pool: RenderPool,
    /// The comparison of the patients of studies with the same UID.
    pub patients: PatientComparison,
}
