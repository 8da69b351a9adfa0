//! What is wrong with a configuration, for the person who wrote it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigLocation {
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// Nowhere: it is missing altogether.
    File,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) file: PathBuf,
    pub(super) place: ConfigLocation,
    /// The key from the root, like `archive[0].url`; empty when what is wrong is no key.
    pub(super) key: String,
    pub(super) message: String,
    /// It is about something that is not there.
    pub(super) is_absence: bool,
}

impl ConfigError {
    /// The key, like `archive[0].url`; empty when the file as a whole is wrong.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The line of the file, counted from 1, when it stands there.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            ConfigLocation::Line(line) => Some(line),
            ConfigLocation::Variable(_) | ConfigLocation::File => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ConfigLocation::Line(line) => write!(formatter, "{}:{line}: ", self.file.display())?,
            ConfigLocation::Variable(name) => write!(formatter, "environment variable {name}: ")?,
            ConfigLocation::File => write!(formatter, "{}: ", self.file.display())?,
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// With what is wrong about variables; what is missing besides is missing with the file.
    pub(super) fn and_variables_of(mut self, Self(errors): Self) -> Self {
        let is_variable =
            |error: &ConfigError| matches!(error.place, ConfigLocation::Variable(_)) && !error.is_absence;
        self.0.extend(errors.into_iter().filter(is_variable));
        self
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot be read ({error}); name the configuration with --config FILE");
        let place = ConfigLocation::File;
        Self(vec![ConfigError {
            file: path.to_owned(),
            place,
            key: String::new(),
            message,
            is_absence: false,
        }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(formatter, "the configuration has {count} {noun}")?;
        for error in &self.0 {
            write!(formatter, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
