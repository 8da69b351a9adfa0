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
    /// Limits of responses that are assembled here.
    pub limits: DicomwebLimits,
    /// The pool in which images are rendered that the archive cannot render.
    pub render_pool: RenderPool,
    /// The comparison of the patients to whom archives assign one study.
    pub patients: PatientComparison,
}
