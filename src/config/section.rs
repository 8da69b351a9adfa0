//! Reads one table key by key. A value is validated when it is taken; a key that is not taken is unknown. Errors are reported,
//! and reading continues.

use std::path::{Path, PathBuf};

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::report::Report;

/// A value that was taken, and its location.
#[derive(Debug, Clone)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) location: ConfigLocation,
}

impl<T> Setting<T> {
    pub(super) fn is_from_environment(&self) -> bool {
        matches!(self.location, ConfigLocation::Variable(_))
    }
}

/// One table while it is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The path of the table from the root; empty for the root.
    path: String,
    table: Table,
    taken: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: Table, report: &'a mut Report) -> Self {
        Self { path: String::new(), table, taken: Vec::new(), report }
    }

    /// Whether `key` is set.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// Takes the value of `key` and parses it; `None` if it is not set or is invalid. The error of `parse` describes the
    /// expected value.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Setting<T>> {
        let Node { value, location } = self.remove(key)?;
        match parse(&value) {
            Ok(value) => Some(Setting { value, location }),
            Err(expected) => {
                self.report_error(location, key, expected);
                None
            }
        }
    }

    /// Takes the value of `key`; returns `default` if it is not set or is invalid.
    pub(super) fn take_or<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        default: T,
    ) -> T {
        self.take(key, parse).map_or(default, |setting| setting.value)
    }

    /// Takes the value of `key`, which must be set. `expected` describes the value that must be set.
    pub(super) fn take_required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        expected: &str,
    ) -> Option<Setting<T>> {
        if !self.table.entries.contains_key(key) {
            self.report_missing(key, expected);
        }
        self.take(key, parse)
    }

    /// Reads the table `key`, or an empty table if it is not set.
    pub(super) fn read_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = match self.remove(key) {
            None => Table { location: self.table.location.clone(), ..Table::default() },
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { location, .. }) => {
                self.report_error(location, key, "expected a table".to_owned());
                return None;
            }
        };
        self.read_section(self.path_of(key), table, read)
    }

    /// Reads the tables of the list `key`, which must not be empty; `None` if one of them is invalid.
    pub(super) fn read_tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = match self.remove(key) {
            None => {
                self.report_missing(key, &format!("configure at least one [[{key}]]"));
                return None;
            }
            Some(Node { value: Value::List(items), .. }) => items,
            Some(Node { location, .. }) => {
                self.report_error(
                    location,
                    key,
                    format!("expected a list of tables, each under a line [[{key}]]"),
                );
                return None;
            }
        };
        let mut values = Vec::new();
        let count = items.len();
        for (index, Node { value, location }) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match value {
                Value::Table(table) => values.extend(self.read_section(path, table, &mut read)),
                _ => {
                    self.report.add_error(
                        location,
                        path,
                        format!("expected a table, under a line [[{key}]]"),
                    );
                }
            }
        }
        (values.len() == count).then_some(values)
    }

    /// Takes the entries of the table `key`, whose keys are names chosen by the operator. `parse` parses the values.
    pub(super) fn take_entries<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let table = match self.remove(key) {
            None => return Vec::new(),
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { location, .. }) => {
                self.report_error(
                    location,
                    key,
                    "expected a table, such as { LOCAL = \"urn:oid:2.999.1\" }".to_owned(),
                );
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (name, Node { value, location }) in table.entries {
            match parse(&value) {
                Ok(value) => entries.push((name, value)),
                Err(expected) => {
                    self.report.add_error(location, format!("{}.{name}", self.path_of(key)), expected);
                }
            }
        }
        entries
    }

    /// Reports that the value of `key` at `location` is wrong.
    pub(super) fn report_error(&mut self, location: ConfigLocation, key: &str, message: String) {
        let path = self.path_of(key);
        self.report.add_error(location, path, message);
    }

    /// Warns that the value of `key` at `location` should be changed.
    pub(super) fn warn(&mut self, location: ConfigLocation, key: &str, message: String) {
        let path = self.path_of(key);
        self.report.add_warning(location, path, message);
    }

    /// Reports that `key` is missing.
    pub(super) fn report_missing(&mut self, key: &str, expected: &str) {
        let location = self.table.location.clone().unwrap_or(ConfigLocation::File);
        let path = self.path_of(key);
        self.report.add_missing(location, path, format!("is missing: {expected}"));
    }

    /// Resolves `path` against the directory of the file.
    pub(super) fn resolve_path(&self, path: &Path) -> PathBuf {
        self.report.directory().join(path)
    }

    /// Reports every key that was not taken as unknown.
    pub(super) fn report_unknown_keys(self) {
        for (key, Node { location, .. }) in self.table.entries {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let nearest = self
                .taken
                .iter()
                .filter(|known| is_misspelling(&key, known))
                .min_by_key(|known| distance(&key, known));
            let hint = match nearest {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the keys here are {}", self.taken.join(", ")),
            };
            self.report.add_unknown(location, path, format!("unknown key; {hint}"));
        }
    }

    fn read_section<T>(
        &mut self,
        path: String,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut section = Section { path, table, taken: Vec::new(), report: &mut *self.report };
        let value = read(&mut section);
        section.report_unknown_keys();
        value
    }

    fn remove(&mut self, key: &'static str) -> Option<Node> {
        self.taken.push(key);
        let path = self.path_of(key);
        self.report.add_known(&path);
        self.table.entries.remove(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Whether `key` may be a misspelling of `known`.
pub(super) fn is_misspelling(key: &str, known: &str) -> bool {
    distance(key, known) <= known.len().div_ceil(4)
}

/// Returns the Levenshtein distance: the number of characters to insert, delete or replace.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, left_character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right_character) in right.chars().enumerate() {
            let replacement_cost = diagonal + usize::from(left_character != right_character);
            diagonal = row[column + 1];
            row[column + 1] = replacement_cost.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_is_recognized() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listn", "listen"), 1);
        assert!(is_misspelling("lisen", "listen") && is_misspelling("public-url", "public_url"));
        assert!(!is_misspelling("cors", "listen") && !is_misspelling("tls", "url"));
    }
}
