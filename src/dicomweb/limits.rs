//! How much may be read from an archive to assemble one response here.

/// Limits of a response that the gateway assembles itself.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebLimits {
    /// Maximum rows of one archive that are compared for one response.
    pub max_scan: usize,
    /// Maximum studies and series of one archive that are searched to count their contents for one response.
    pub max_opened: usize,
}
