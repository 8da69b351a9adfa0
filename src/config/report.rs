//! Collects what is wrong with a configuration while it is read, so that all of it is reported together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, ConfigLocation, ConfigWarning};

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    file: PathBuf,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigWarning>,
    /// Part of the file could not be read, so a key that seems to be missing may be there: absences are not reported.
    is_broken: bool,
    /// Every key that was asked for, whether it is set or not, as paths without indexes.
    pub(super) known: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
            warnings: Vec::new(),
            is_broken: false,
            known: BTreeSet::new(),
        }
    }

    /// Reports that something could not be read at all.
    pub(super) fn broken(&mut self, place: ConfigLocation, message: String) {
        self.is_broken = true;
        self.error(place, String::new(), message);
    }

    /// Reports that the value of `key`, a path from the root, is wrong.
    pub(super) fn error(&mut self, place: ConfigLocation, key: String, message: String) {
        self.note(place, key, message, false);
    }

    /// Reports that `key`, a path from the root, is missing from the table at `place`.
    pub(super) fn absence(&mut self, place: ConfigLocation, key: String, message: String) {
        self.note(place, key, message, true);
    }

    fn note(&mut self, place: ConfigLocation, key: String, message: String, is_absence: bool) {
        self.errors.push(ConfigError { file: self.file.clone(), place, key, message, is_absence });
    }

    /// Reports that `key`, a path from the root, is accepted and should be changed.
    pub(super) fn warn(&mut self, place: ConfigLocation, key: String, message: String) {
        self.warnings.push(ConfigWarning { file: self.file.clone(), place, key, message });
    }

    /// Records that `key`, a path from the root, is a key of the configuration.
    pub(super) fn ask(&mut self, key: &str) {
        self.known.insert(without_indexes(key));
    }

    /// `value` with the warnings, if nothing is wrong.
    pub(super) fn into_result<T>(
        mut self,
        value: Option<T>,
    ) -> Result<(T, Vec<ConfigWarning>), ConfigErrors> {
        if self.is_broken {
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
