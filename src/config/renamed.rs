//! Renamed keys. An old name works for one release, in the file and in environment variables, with a warning that contains both
//! names. The old and the new name together are an error, because the setting would have two values. A variable overrides the
//! file even if one uses the old name and the other uses the new name.
//!
//! This module changes only names, and the form of a value that the new name has in another form.

use super::document::{Node, Table, Value};
use super::report::Report;

/// Converts a text under an old name to the form of the new name.
type ConvertValue = fn(&str) -> String;

/// The old and the new name of a key: paths from the root, without indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RenamedKey {
    old: &'static str,
    new: &'static str,
    /// Converts a text under the old name to the form of the new name.
    convert: ConvertValue,
}

impl RenamedKey {
    /// Creates the entry of a key whose values have the same form under both names.
    const fn new(old: &'static str, new: &'static str) -> Self {
        Self { old, new, convert: |text| String::new() + text }
    }
}

/// The keys whose old names this release accepts. The next release removes them from this table.
pub(super) const RENAMED_KEYS: &[RenamedKey] = &[
    RenamedKey::new("archive.supply", "archive.synthesize"),
    RenamedKey::new("cache.ledger_entries", "cache.change_log_entries"),
    RenamedKey { convert: file_in_directory, ..RenamedKey::new("cache.state_dir", "store.url") },
    RenamedKey::new("search.cursor_key", "fhir.keys"),
    RenamedKey::new("search.cursor_key_file", "fhir.keys_file"),
];

/// Returns the URL of the store in a directory.
fn file_in_directory(directory: &str) -> String {
    format!("sqlite:{}/gateway.db", directory.trim_end_matches('/'))
}

/// Returns the warning about the old name of `new`.
pub(super) fn warning(new: &str) -> String {
    format!("was renamed to {new}; the old name works in this release only")
}

/// Returns the error for the `old` name of `new` if both are set.
pub(super) fn conflict(old: &str, new: &str) -> String {
    format!("is the old name of {new}, and both are set; remove {old}")
}

/// Moves the values of the old names of `renamed` in `table` to the new names.
pub(super) fn rename_keys(renamed: &[RenamedKey], table: &mut Table, report: &mut Report) {
    for key in renamed {
        let (old, new): (Vec<_>, Vec<_>) = (key.old.split('.').collect(), key.new.split('.').collect());
        rename_in(table, "", (&old, &new), key.convert, report);
    }
}

/// Moves the value of the key `old` of `table` to `new`. `path` is the path of the table.
fn rename_in(
    table: &mut Table,
    path: &str,
    (old, new): (&[&str], &[&str]),
    convert: ConvertValue,
    report: &mut Report,
) {
    if let ([old_key, old @ ..], [new_key, new @ ..]) = (old, new)
        && old_key == new_key
    {
        let path = join(path, old_key);
        match table.entries.get_mut(*old_key).map(|node| &mut node.value) {
            Some(Value::Table(inner)) => rename_in(inner, &path, (old, new), convert, report),
            Some(Value::List(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::Table(inner) = &mut item.value {
                        rename_in(inner, &format!("{path}[{index}]"), (old, new), convert, report);
                    }
                }
            }
            _ => {}
        }
        return;
    }
    let Some(mut node) = remove(table, old) else { return };
    if let Value::Text(text) = &mut node.value {
        *text = convert(text);
    }
    let location = node.location.clone();
    let (old, new_path) = (join(path, &old.join(".")), join(path, &new.join(".")));
    if insert(table, new, node) {
        report.add_warning(location, old, warning(&new_path));
    } else {
        let message = conflict(&old, &new_path);
        report.add_error(location, old, message);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn remove(table: &mut Table, path: &[&str]) -> Option<Node> {
    match path {
        [] => None,
        [key] => table.entries.remove(*key),
        [key, rest @ ..] => match &mut table.entries.get_mut(*key)?.value {
            Value::Table(inner) => remove(inner, rest),
            _ => None,
        },
    }
}

/// Inserts `node` at `path`. Returns false, without inserting it, if the path has a value.
fn insert(table: &mut Table, path: &[&str], node: Node) -> bool {
    match path {
        [] => false,
        [key] if table.entries.contains_key(*key) => false,
        [key] => table.entries.insert((*key).to_owned(), node).is_none(),
        [key, rest @ ..] => {
            let location = node.location.clone();
            let empty = || Node {
                value: Value::Table(Table { location: Some(location.clone()), ..Table::default() }),
                location: location.clone(),
            };
            match &mut table.entries.entry((*key).to_owned()).or_insert_with(empty).value {
                Value::Table(inner) => insert(inner, rest, node),
                _ => false,
            }
        }
    }
}

/// Replaces an old name of `renamed` in the levels of an environment variable by the new name; `None` if the variable does not
/// use an old name. The second value converts the value of the variable.
pub(super) fn rename_levels(
    renamed: &[RenamedKey],
    levels: &[String],
) -> Option<(Vec<String>, ConvertValue)> {
    renamed.iter().find_map(|key| {
        let (old, new): (Vec<_>, Vec<_>) = (key.old.split('.').collect(), key.new.split('.').collect());
        let shared_count = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let mut renamed_levels = Vec::new();
        let mut matched_count = 0;
        for level in levels {
            match old.get(matched_count) {
                // A level below the renamed key, or an index of a list.
                None => renamed_levels.push(level.clone()),
                Some(_) if level.parse::<usize>().is_ok() => renamed_levels.push(level.clone()),
                Some(key) if key.eq_ignore_ascii_case(level) => {
                    matched_count += 1;
                    if matched_count <= shared_count {
                        renamed_levels.push(level.clone());
                    }
                    if matched_count == old.len() {
                        renamed_levels
                            .extend(new[shared_count..].iter().map(|level| level.to_ascii_uppercase()));
                    }
                }
                Some(_) => return None,
            }
        }
        (matched_count == old.len()).then_some((renamed_levels, key.convert))
    })
}

#[cfg(test)]
mod tests;
