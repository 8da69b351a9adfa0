//! Errors and warnings of a configuration, for the operator who wrote it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigLocation {
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// The file as a whole: the setting is missing.
    File,
}

impl ConfigLocation {
    /// Writes the location with `file`, then the `key` unless it is empty, each followed by a colon.
    fn write(&self, formatter: &mut fmt::Formatter<'_>, file: &Path, key: &str) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "{}:{line}: ", file.display())?,
            Self::Variable(name) => write!(formatter, "environment variable {name}: ")?,
            Self::File => write!(formatter, "{}: ", file.display())?,
        }
        if key.is_empty() { Ok(()) } else { write!(formatter, "{key}: ") }
    }
}

/// One error of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) location: ConfigLocation,
    /// The path of the key from the root, such as `archive[0].url`; empty if the error is not about a key.
    pub(super) key: String,
    pub(super) message: String,
    /// Whether something is missing.
    pub(super) is_absence: bool,
}

impl ConfigError {
    /// The path of the key, such as `archive[0].url`; empty if the file as a whole is invalid.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The line of the file, counted from 1, if it is in the file.
    pub fn line(&self) -> Option<usize> {
        match self.location {
            ConfigLocation::Line(line) => Some(line),
            ConfigLocation::Variable(_) | ConfigLocation::File => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.write(formatter, &self.file, &self.key)?;
        formatter.write_str(&self.message)
    }
}

/// A setting that is accepted now and should be changed, because a later release rejects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    pub(super) file: PathBuf,
    pub(super) location: ConfigLocation,
    pub(super) key: String,
    pub(super) message: String,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.write(formatter, &self.file, &self.key)?;
        formatter.write_str(&self.message)
    }
}

/// All errors, in the order of the file, and the warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
}

impl ConfigErrors {
    /// Each error.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// Adds the errors of `others` in variables. What `others` reports as missing is missing because there is no file.
    pub(super) fn and_variables_of(mut self, others: Self) -> Self {
        let is_variable =
            |error: &ConfigError| matches!(error.location, ConfigLocation::Variable(_)) && !error.is_absence;
        self.errors.extend(others.errors.into_iter().filter(is_variable));
        self.warnings.extend(others.warnings);
        self
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot be read ({error}); name the configuration file with --config FILE");
        let error = ConfigError {
            file: path.to_owned(),
            location: ConfigLocation::File,
            key: String::new(),
            message,
            is_absence: false,
        };
        Self { errors: vec![error], warnings: Vec::new() }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(formatter, "the configuration has {count} {noun}")?;
        for error in &self.errors {
            write!(formatter, "\n  {error}")?;
        }
        for warning in &self.warnings {
            write!(formatter, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
