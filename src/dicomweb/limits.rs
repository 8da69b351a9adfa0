//! The limits of the rows and searches that the gateway needs to assemble one response.

/// Limits of a response that the gateway assembles itself.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebLimits {
    /// Maximum number of rows of one archive that are compared for one response.
    pub max_scan: usize,
    /// Maximum number of instances of one archive that are compared with those of another one.
    pub max_instances: usize,
    /// Maximum number of studies and series of one archive whose contents are counted for one response.
    pub max_opened: usize,
    /// Whether responses of the aggregate root may be without archives that fail, unless the client requests strict handling.
    pub partial: bool,
}
