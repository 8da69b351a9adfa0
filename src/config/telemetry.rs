//! `[telemetry]`: how the gateway tells what it does.

use super::section::Section;
use super::values::one_of;
use crate::telemetry::LogFormat;

/// Lines of text are read by whoever starts the gateway by hand; whoever collects logs says so.
const LOG: LogFormat = LogFormat::Text;

/// How the gateway tells what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// How a log line is written.
    pub log: LogFormat,
}

impl TelemetryConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let names = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self { log: section.or("log", one_of(&names), LOG) }
    }
}
