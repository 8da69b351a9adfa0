//! Keys that were renamed. An old name works for one release, in the file and in environment variables, with a warning that
//! names both. The old and the new name together are an error: one setting would have two values. A variable still overrides
//! the file, whichever name each of them uses.
//!
//! Only names are handled here; what a value means, its reader decides.

use super::document::{Node, Table, Value};
use super::report::Report;

/// A key under its old and its new name: paths from the root, without indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RenamedKey {
    old: &'static str,
    new: &'static str,
}

/// The keys that this release accepts under an old name too. The next release removes them from this table.
pub(super) const RENAMED_KEYS: &[RenamedKey] = &[
    RenamedKey { old: "archive.supply", new: "archive.synthesize" },
    RenamedKey { old: "cache.ledger_entries", new: "cache.change_log_entries" },
];

/// What to say about the `old` name of `new`.
pub(super) fn warning(new: &str) -> String {
    format!("was renamed to {new}; the old name works in this release only")
}

/// What to say about the `old` name of `new` where both are set.
pub(super) fn conflict(old: &str, new: &str) -> String {
    format!("is the old name of {new}, and both are set; remove {old}")
}

/// Moves what `table`, read from the file, holds under the old names of `renamed` to the new names.
pub(super) fn rename_keys(renamed: &[RenamedKey], table: &mut Table, report: &mut Report) {
    for key in renamed {
        let (old, new): (Vec<_>, Vec<_>) = (key.old.split('.').collect(), key.new.split('.').collect());
        rename_below(table, "", (&old, &new), report);
    }
}

/// The same in `table`, which is at `path`.
fn rename_below(table: &mut Table, path: &str, (old, new): (&[&str], &[&str]), report: &mut Report) {
    if let ([first, old @ ..], [same, new @ ..]) = (old, new)
        && first == same
    {
        let path = joined(path, first);
        match table.entries.get_mut(*first).map(|node| &mut node.value) {
            Some(Value::Table(inner)) => rename_below(inner, &path, (old, new), report),
            Some(Value::List(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::Table(inner) = &mut item.value {
                        rename_below(inner, &format!("{path}[{index}]"), (old, new), report);
                    }
                }
            }
            _ => {}
        }
        return;
    }
    let Some(node) = remove(table, old) else { return };
    let location = node.location.clone();
    let (old, new_path) = (joined(path, &old.join(".")), joined(path, &new.join(".")));
    if insert(table, new, node) {
        report.warn(location, old, warning(&new_path));
    } else {
        let message = conflict(&old, &new_path);
        report.error(location, old, message);
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn remove(table: &mut Table, path: &[&str]) -> Option<Node> {
    match path {
        [] => None,
        [key] => table.entries.remove(*key),
        [key, below @ ..] => match &mut table.entries.get_mut(*key)?.value {
            Value::Table(inner) => remove(inner, below),
            _ => None,
        },
    }
}

/// Whether `path` was free, so that `node` is there now.
fn insert(table: &mut Table, path: &[&str], node: Node) -> bool {
    match path {
        [] => false,
        [key] if table.entries.contains_key(*key) => false,
        [key] => table.entries.insert((*key).to_owned(), node).is_none(),
        [key, below @ ..] => {
            let location = node.location.clone();
            let empty = || Node {
                value: Value::Table(Table { location: Some(location.clone()), ..Table::default() }),
                location: location.clone(),
            };
            match &mut table.entries.entry((*key).to_owned()).or_insert_with(empty).value {
                Value::Table(inner) => insert(inner, below, node),
                _ => false,
            }
        }
    }
}

/// The levels of an environment variable that uses an old name of `renamed`, under its new name; `None` for any other.
pub(super) fn rename_levels(renamed: &[RenamedKey], levels: &[String]) -> Option<Vec<String>> {
    renamed.iter().find_map(|key| {
        let (old, new): (Vec<_>, Vec<_>) = (key.old.split('.').collect(), key.new.split('.').collect());
        let shared = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let mut found = Vec::new();
        let mut matched = 0;
        for level in levels {
            match old.get(matched) {
                // An index of a list, or what is below the renamed key.
                None => found.push(level.clone()),
                Some(_) if level.parse::<usize>().is_ok() => found.push(level.clone()),
                Some(key) if key.eq_ignore_ascii_case(level) => {
                    matched += 1;
                    if matched <= shared {
                        found.push(level.clone());
                    }
                    if matched == old.len() {
                        found.extend(new[shared..].iter().map(|level| level.to_ascii_uppercase()));
                    }
                }
                Some(_) => return None,
            }
        }
        (matched == old.len()).then_some(found)
    })
}

#[cfg(test)]
mod tests;
