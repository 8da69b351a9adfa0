//! Reads one table key by key. A value is checked when it is taken; a key that is left over is unknown. Whatever is wrong is
//! reported, and reading continues.

use std::path::{Path, PathBuf};

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::report::Report;

/// A value that was taken, and where it was.
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
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// The value of `key`, as `parse` reads it; `None` if it is not set or is invalid. The error of `parse` says what is
    /// expected.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Setting<T>> {
        let Node { value, location } = self.remove(key)?;
        match parse(&value) {
            Ok(value) => Some(Setting { value, location }),
            Err(expected) => {
                self.error(location, key, expected);
                None
            }
        }
    }

    /// The value of `key`, or `default`; also where the value is invalid, which is reported.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        default: T,
    ) -> T {
        self.take(key, parse).map_or(default, |set| set.value)
    }

    /// The value of `key`, which must be set: if it is not, `expected` says to what.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        expected: &str,
    ) -> Option<Setting<T>> {
        if !self.table.entries.contains_key(key) {
            self.absent(key, expected);
        }
        self.take(key, parse)
    }

    /// The table called `key`; an empty one if there is none.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = match self.remove(key) {
            None => Table { location: self.table.location.clone(), ..Table::default() },
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { location, .. }) => {
                self.error(location, key, "expected a table".to_owned());
                return None;
            }
        };
        self.descend(self.path_of(key), table, read)
    }

    /// Every table of the list called `key`, of which there must be one at least; `None` if one of them is invalid.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = match self.remove(key) {
            None => {
                self.absent(key, &format!("configure at least one [[{key}]]"));
                return None;
            }
            Some(Node { value: Value::List(items), .. }) => items,
            Some(Node { location, .. }) => {
                self.error(location, key, format!("expected a list of tables, each under a line [[{key}]]"));
                return None;
            }
        };
        let mut read_items = Vec::new();
        let count = items.len();
        for (index, Node { value, location }) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match value {
                Value::Table(table) => read_items.extend(self.descend(path, table, &mut read)),
                _ => self.report.error(location, path, format!("expected a table, under a line [[{key}]]")),
            }
        }
        (read_items.len() == count).then_some(read_items)
    }

    /// The texts of the table called `key`, whose keys the operator makes up; `parse` reads each.
    pub(super) fn texts_by_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let table = match self.remove(key) {
            None => return Vec::new(),
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { location, .. }) => {
                self.error(
                    location,
                    key,
                    "expected a table, such as { LOCAL = \"urn:oid:2.999.1\" }".to_owned(),
                );
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (name, Node { value, location }) in table.entries {
            match parse(&value) {
                Ok(value) => texts.push((name, value)),
                Err(expected) => {
                    self.report.error(location, format!("{}.{name}", self.path_of(key)), expected);
                }
            }
        }
        texts
    }

    /// Reports that the value of `key` at `location` is wrong.
    pub(super) fn error(&mut self, location: ConfigLocation, key: &str, message: String) {
        let path = self.path_of(key);
        self.report.error(location, path, message);
    }

    /// Warns that the value of `key` at `location` is unwise.
    pub(super) fn warn(&mut self, location: ConfigLocation, key: &str, message: String) {
        let path = self.path_of(key);
        self.report.warn(location, path, message);
    }

    /// Reports that `key` is missing.
    pub(super) fn absent(&mut self, key: &str, expected: &str) {
        let location = self.table.location.clone().unwrap_or(ConfigLocation::File);
        let path = self.path_of(key);
        self.report.absence(location, path, format!("is missing: {expected}"));
    }

    /// `path`, resolved against the directory of the file.
    pub(super) fn resolve_path(&self, path: &Path) -> PathBuf {
        self.report.directory().join(path)
    }

    /// Reports every key that was not taken: it is unknown.
    pub(super) fn end(self) {
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
            self.report.error(location, path, format!("unknown key; {hint}"));
        }
    }

    fn descend<T>(
        &mut self,
        path: String,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut section = Section { path, table, taken: Vec::new(), report: &mut *self.report };
        let value = read(&mut section);
        section.end();
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

/// Whether `known` may have been meant.
fn is_misspelling(written: &str, known: &str) -> bool {
    distance(written, known) <= known.len().div_ceil(4)
}

/// How many characters have to be inserted, deleted or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
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
