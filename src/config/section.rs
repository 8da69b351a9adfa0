//! Reads one table key by key. A value is checked when it is taken; a key that is left over is unknown. Whatever is wrong is
//! reported, and reading continues.

use std::path::{Path, PathBuf};

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::report::Report;

/// A value that was taken, and where it stood.
#[derive(Debug, Clone)]
pub(super) struct Set<T> {
    pub(super) value: T,
    pub(super) place: ConfigLocation,
}

impl<T> Set<T> {
    pub(super) fn is_from_environment(&self) -> bool {
        matches!(self.place, ConfigLocation::Variable(_))
    }
}

/// One table while it is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// Of the table, from the root; empty for the root.
    path: String,
    table: Table,
    asked: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: Table, report: &'a mut Report) -> Self {
        Self { path: String::new(), table, asked: Vec::new(), report }
    }

    /// Whether `key` is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// The value of `key`, as `parse` understands it; `None` when it is not set or is wrong. `parse` says in an error
    /// what was expected.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Set<T>> {
        let Node { value, place } = self.remove(key)?;
        match parse(&value) {
            Ok(value) => Some(Set { value, place }),
            Err(expected) => {
                self.error(place, key, expected);
                None
            }
        }
    }

    /// The value of `key`, or `default`. A wrong value is noted, and the default stands in for it until the end.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        default: T,
    ) -> T {
        self.take(key, parse).map_or(default, |set| set.value)
    }

    /// The value of `key`, which must be set.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
        expected: &str,
    ) -> Option<Set<T>> {
        if !self.table.entries.contains_key(key) {
            self.absent(key, expected);
        }
        self.take(key, parse)
    }

    /// The table called `key`; an empty one when there is none.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = match self.remove(key) {
            None => Table { place: self.table.place.clone(), ..Table::default() },
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { place, .. }) => {
                self.error(place, key, "a table of keys is expected here".to_owned());
                return None;
            }
        };
        self.descend(self.path_of(key), table, read)
    }

    /// Every table of the list called `key`; `None` when one of them is wrong. There must be one at least.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = match self.remove(key) {
            None => {
                self.absent(key, &format!("there must be one [[{key}]] at least"));
                return None;
            }
            Some(Node { value: Value::List(items), .. }) => items,
            Some(Node { place, .. }) => {
                self.error(place, key, format!("a list of tables is expected, each under a line [[{key}]]"));
                return None;
            }
        };
        let mut read_items = Vec::new();
        let count = items.len();
        for (index, Node { value, place }) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match value {
                Value::Table(table) => read_items.extend(self.descend(path, table, &mut read)),
                _ => self.report.error(place, path, format!("a table is expected, under a line [[{key}]]")),
            }
        }
        (read_items.len() == count).then_some(read_items)
    }

    /// The texts of the table called `key`, whose keys are the operator's own; each is checked by `parse`.
    pub(super) fn texts_by_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let table = match self.remove(key) {
            None => return Vec::new(),
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { place, .. }) => {
                self.error(
                    place,
                    key,
                    "a table is expected here, like { LOCAL = \"urn:oid:2.999.1\" }".to_owned(),
                );
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (name, Node { value, place }) in table.entries {
            match parse(&value) {
                Ok(value) => texts.push((name, value)),
                Err(expected) => self.report.error(place, format!("{}.{name}", self.path_of(key)), expected),
            }
        }
        texts
    }

    /// Notes what is wrong with the value of `key` that stands at `place`.
    pub(super) fn error(&mut self, place: ConfigLocation, key: &str, message: String) {
        let path = self.path_of(key);
        self.report.error(place, path, message);
    }

    /// Notes that `key` is missing.
    pub(super) fn absent(&mut self, key: &str, expected: &str) {
        let place = self.table.place.clone().unwrap_or(ConfigLocation::File);
        let path = self.path_of(key);
        self.report.absence(place, path, format!("is missing: {expected}"));
    }

    /// `path` as the file means it.
    pub(super) fn beside_the_file(&self, path: &Path) -> PathBuf {
        self.report.directory().join(path)
    }

    /// Notes every key that nobody asked for.
    pub(super) fn end(self) {
        for (key, Node { place, .. }) in self.table.entries {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let nearest = self
                .asked
                .iter()
                .filter(|known| is_slip(&key, known))
                .min_by_key(|known| distance(&key, known));
            let hint = match nearest {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the keys here are {}", self.asked.join(", ")),
            };
            self.report.error(place, path, format!("there is no such key; {hint}"));
        }
    }

    fn descend<T>(
        &mut self,
        path: String,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut section = Section { path, table, asked: Vec::new(), report: &mut *self.report };
        let value = read(&mut section);
        section.end();
        value
    }

    fn remove(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let path = self.path_of(key);
        self.report.ask(&path);
        self.table.entries.remove(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Near enough to have been meant.
fn is_slip(written: &str, known: &str) -> bool {
    distance(written, known) <= known.len().div_ceil(4)
}

/// How many characters have to be put in, taken out or replaced (Levenshtein).
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
    fn a_slip_of_the_hand_is_recognised() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listn", "listen"), 1);
        assert!(is_slip("lisen", "listen") && is_slip("public-url", "public_url"));
        assert!(!is_slip("cors", "listen") && !is_slip("tls", "url"));
    }
}
