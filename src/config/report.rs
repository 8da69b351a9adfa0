//! Collects the errors and warnings of a configuration, so that they are reported together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrorKind, ConfigErrors, ConfigLocation, ConfigWarning};

/// The errors and warnings that were found so far.
#[derive(Debug)]
pub(super) struct Report {
    file: PathBuf,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigWarning>,
    /// Whether a part of the file could not be read. Then missing and unknown keys are not reported: a key may be in that part, or below
    /// the header of a table in that part.
    is_incomplete: bool,
    /// Every key that the configuration may have, as paths without indexes.
    pub(super) known_keys: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
            warnings: Vec::new(),
            is_incomplete: false,
            known_keys: BTreeSet::new(),
        }
    }

    /// Reports a part of the configuration that cannot be read.
    pub(super) fn add_unreadable(&mut self, location: ConfigLocation, message: String) {
        self.is_incomplete = true;
        self.add_error(location, String::new(), message);
    }

    /// Reports that the value of `key`, a path from the root, is wrong.
    pub(super) fn add_error(&mut self, location: ConfigLocation, key: String, message: String) {
        self.add_with_kind(location, key, message, ConfigErrorKind::Value);
    }

    /// Reports that `key`, a path from the root, is missing from the table at `location`.
    pub(super) fn add_missing(&mut self, location: ConfigLocation, key: String, message: String) {
        self.add_with_kind(location, key, message, ConfigErrorKind::MissingKey);
    }

    /// Reports that the configuration has no key `key`, a path from the root.
    pub(super) fn add_unknown(&mut self, location: ConfigLocation, key: String, message: String) {
        self.add_with_kind(location, key, message, ConfigErrorKind::UnknownKey);
    }

    fn add_with_kind(
        &mut self,
        location: ConfigLocation,
        key: String,
        message: String,
        kind: ConfigErrorKind,
    ) {
        self.errors.push(ConfigError { file: self.file.clone(), location, key, message, kind });
    }

    /// Warns that the setting of `key`, a path from the root, should be changed.
    pub(super) fn add_warning(&mut self, location: ConfigLocation, key: String, message: String) {
        self.warnings.push(ConfigWarning { file: self.file.clone(), location, key, message });
    }

    /// Records that `key`, a path from the root, is a key of the configuration.
    pub(super) fn add_known(&mut self, key: &str) {
        self.known_keys.insert(without_indexes(key));
    }

    /// Returns `value` with the warnings, or the errors.
    pub(super) fn into_result<T>(
        mut self,
        value: Option<T>,
    ) -> Result<(T, Vec<ConfigWarning>), ConfigErrors> {
        if self.is_incomplete {
            self.errors.retain(|error| match error.kind {
                ConfigErrorKind::MissingKey => false,
                ConfigErrorKind::UnknownKey => matches!(error.location, ConfigLocation::Variable(_)),
                ConfigErrorKind::Value => true,
            });
        }
        self.errors.sort_by_key(|error| error.line().unwrap_or(usize::MAX));
        match value {
            Some(value) if self.errors.is_empty() => Ok((value, self.warnings)),
            _ => Err(ConfigErrors { errors: self.errors, warnings: self.warnings }),
        }
    }

    /// Returns the directory of the file, to which relative paths in the file refer.
    pub(super) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

fn without_indexes(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}
