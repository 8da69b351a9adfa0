//! What every DICOMweb request is answered with.

use super::limits::DicomwebLimits;
use super::rendering::RenderPool;
use super::response_cache::ResponseCache;

/// The shared state of all DICOMweb requests; built once.
#[derive(Debug, Clone)]
pub struct DicomwebContext {
    /// The cached responses.
    pub response_cache: ResponseCache,
    /// Bounds of what is assembled here.
    pub limits: DicomwebLimits,
    /// Where images are rendered that the archive cannot render.
    pub render_pool: RenderPool,
}
