//! The configuration: a file, `config/gateway.toml`, and environment variables that override single keys of it.
//!
//! Every key is a field of the struct of its section; every default is a named constant with its reason. If the configuration
//! has errors, the gateway does not start and reports all of them together, each with its key, its location and the expected
//! value. A setting is applied or rejected, never ignored. This module reads and validates the configuration; it calls no
//! service.

mod archive;
mod auth;
mod cache;
mod document;
mod environment;
mod error;
mod fhir;
mod renamed;
mod render;
mod report;
mod search;
mod secret;
mod section;
mod server;
mod store;
mod telemetry;
mod values;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

pub use archive::ArchiveConfig;
pub use auth::{AuthConfig, AuthMode};
pub use cache::CacheConfig;
pub use error::{ConfigError, ConfigErrors, ConfigWarning};
pub use fhir::{FhirConfig, ImplementationGuide};
pub use render::RenderConfig;
pub use search::SearchConfig;
pub use server::ServerConfig;
pub use telemetry::TelemetryConfig;
pub use values::EXPECTED_LISTEN_ADDRESS;

use document::{Node, Table, Value};
use error::ConfigLocation;
use renamed::RENAMED_KEYS;
use report::Report;
use section::Section;

use crate::store::StoreSettings;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[[archive]]`, in the order of the file; at least one.
    pub archives: Vec<ArchiveConfig>,
    /// `[cache]`
    pub cache: CacheConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[fhir]`
    pub fhir: FhirConfig,
    /// `[render]`
    pub render: RenderConfig,
    /// `[search]`
    pub search: SearchConfig,
    /// `[store]`
    pub store: StoreSettings,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// Warnings for the operator about settings that are accepted but should be changed.
    pub warnings: Vec<ConfigWarning>,
}

impl Config {
    /// Reads the file at `path`, and the variables of `environment` that begin with `GATEWAY_`. The file may be missing if the
    /// variables set all required keys, as in a container.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, environment),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let add_missing_file =
                    |errors| ConfigErrors::unreadable(path, &error).with_variable_errors_of(errors);
                Self::parse("", path, environment).map_err(add_missing_file)
            }
            Err(error) => Err(ConfigErrors::unreadable(path, &error)),
        }
    }

    /// Reads `text` as the content of the file at `path`.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut report = Report::new(path);
        let mut table = document::read(text, &mut report);
        renamed::rename_keys(RENAMED_KEYS, &mut table, &mut report);
        environment::overlay(&mut table, environment, Self::known_keys, &mut report);
        let config = Self::read(table, &mut report);
        let (config, warnings) = report.into_result(config)?;
        Ok(Self { warnings, ..config })
    }

    /// Returns the paths of all keys, without indexes.
    fn known_keys() -> BTreeSet<String> {
        let location = ConfigLocation::File;
        let archive = Node { value: Value::Table(Table::default()), location: location.clone() };
        let archives = Node { value: Value::List(vec![archive]), location };
        let table = Table { entries: [("archive".to_owned(), archives)].into(), location: None };
        // The errors about missing keys are not used.
        let mut report = Report::new(Path::new(""));
        Self::read(table, &mut report);
        report.known_keys
    }

    fn read(table: Table, report: &mut Report) -> Option<Self> {
        let mut ids = BTreeSet::new();
        let mut root = Section::root(table, report);
        let (server, listen) = root.read_table("server", |section| Some(ServerConfig::read(section))).unzip();
        let archives = root.read_tables("archive", |section| ArchiveConfig::read(section, &mut ids));
        let cache = root.read_table("cache", |section| Some(CacheConfig::read(section)));
        let auth = root.read_table("auth", |section| AuthConfig::read(section, listen));
        let fhir = root.read_table("fhir", |section| Some(FhirConfig::read(section)));
        let render = root.read_table("render", |section| Some(RenderConfig::read(section)));
        let search = root.read_table("search", |section| Some(SearchConfig::read(section)));
        let store = root.read_table("store", store::read);
        let telemetry = root.read_table("telemetry", |section| Some(TelemetryConfig::read(section)));
        root.report_unknown_keys();
        Some(Self {
            server: server?,
            archives: archives?,
            cache: cache?,
            auth: auth?,
            fhir: fhir?,
            render: render?,
            search: search?,
            store: store?,
            telemetry: telemetry?,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
