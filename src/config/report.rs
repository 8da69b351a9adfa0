//! Collects the errors and warnings of a configuration while it is read, so that they are reported together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, ConfigLocation, ConfigWarning};

/// The errors and warnings so far.
#[derive(Debug)]
pub(super) struct Report {
    file: PathBuf,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigWarning>,
    /// Part of the file could not be read, so a key that seems to be missing may be there: absences are not reported.
    is_incomplete: bool,
    /// Every key of the configuration, whether it is set or not, as paths without indexes.
    pub(super) known: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
            warnings: Vec::new(),
            is_incomplete: false,
            known: BTreeSet::new(),
        }
    }

    /// Reports a part of the configuration that cannot be read at all.
    pub(super) fn unreadable(&mut self, location: ConfigLocation, message: String) {
        self.is_incomplete = true;
        self.error(location, String::new(), message);
    }

    /// Reports that the value of `key`, a path from the root, is wrong.
    pub(super) fn error(&mut self, location: ConfigLocation, key: String, message: String) {
        self.add(location, key, message, false);
    }

    /// Reports that `key`, a path from the root, is missing from the table at `location`.
    pub(super) fn absence(&mut self, location: ConfigLocation, key: String, message: String) {
        self.add(location, key, message, true);
    }

    fn add(&mut self, location: ConfigLocation, key: String, message: String, is_absence: bool) {
        self.errors.push(ConfigError { file: self.file.clone(), location, key, message, is_absence });
    }

    /// Reports that `key`, a path from the root, is accepted and should be changed.
    pub(super) fn warn(&mut self, location: ConfigLocation, key: String, message: String) {
        self.warnings.push(ConfigWarning { file: self.file.clone(), location, key, message });
    }

    /// Records that `key`, a path from the root, is a key of the configuration.
    pub(super) fn add_known(&mut self, key: &str) {
        self.known.insert(without_indexes(key));
    }

    /// `value` with the warnings, if there is no error.
    pub(super) fn into_result<T>(
        mut self,
        value: Option<T>,
    ) -> Result<(T, Vec<ConfigWarning>), ConfigErrors> {
        if self.is_incomplete {
            self.errors.retain(|error| !error.is_absence);
        }
        self.errors.sort_by_key(|error| error.line().unwrap_or(usize::MAX));
        match value {
            Some(value) if self.errors.is_empty() => Ok((value, self.warnings)),
            _ => Err(ConfigErrors { errors: self.errors, warnings: self.warnings }),
        }
    }

    /// The directory of the file, against which its relative paths are resolved.
    pub(super) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

fn without_indexes(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}
