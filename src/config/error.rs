//! Errors and warnings of a configuration.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The location of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigLocation {
    /// A line of the file, starting at 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// The whole file, if a setting is missing.
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
    /// The path of the key from the root, such as `archive[0].url`; empty if the error does not concern a key.
    pub(super) key: String,
    pub(super) message: String,
    pub(super) kind: ConfigErrorKind,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigErrorKind {
    /// A required key is missing.
    MissingKey,
    /// There is no such key.
    UnknownKey,
    /// The value, or the text of the file, is invalid.
    Value,
}

impl ConfigError {
    /// Returns the path of the key, such as `archive[0].url`; empty if the whole file is invalid.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the line in the file, starting at 1; `None` if the setting is not in the file.
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

/// A warning about a setting that is accepted but should be changed.
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

/// All errors in the order of the file, and the warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
}

impl ConfigErrors {
    /// Returns an iterator over the errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// Adds the errors of `others` that are in variables, and its warnings. Missing keys are not added, because they are missing
    /// only because there is no file.
    pub(super) fn with_variable_errors_of(mut self, others: Self) -> Self {
        let is_variable = |error: &ConfigError| {
            matches!(error.location, ConfigLocation::Variable(_)) && error.kind != ConfigErrorKind::MissingKey
        };
        self.errors.extend(others.errors.into_iter().filter(is_variable));
        self.warnings.extend(others.warnings);
        self
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "let the user that runs the gateway read it, and enter its folders"
            }
            io::ErrorKind::InvalidData => "save it in UTF-8",
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => {
                "name the configuration file with --config FILE"
            }
            _ => "is it a file, and is its file system available?",
        };
        let message = format!("cannot be read ({error}); {advice}");
        let error = ConfigError {
            file: path.to_owned(),
            location: ConfigLocation::File,
            key: String::new(),
            message,
            kind: ConfigErrorKind::Value,
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
