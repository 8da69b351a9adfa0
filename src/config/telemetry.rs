//! `[telemetry]`: the format of logs.

use super::section::Section;
use super::values::one_of;
use crate::telemetry::LogFormat;

/// The default of `log`. Text is for people who start the gateway manually; operators who collect logs configure JSON.
const LOG: LogFormat = LogFormat::Text;

/// The configuration of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The format of a log line.
    pub log: LogFormat,
}

impl TelemetryConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let names = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self { log: section.take_or("log", one_of(&names), LOG) }
    }
}
