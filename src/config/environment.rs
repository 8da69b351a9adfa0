//! Environment variables, which override single keys of the file: `GATEWAY_SERVER__LISTEN` sets `server.listen`, and
//! `GATEWAY_ARCHIVE__0__URL` sets the `url` of the first `[[archive]]`. Two underscores separate levels. `ignored` reports variables
//! without a double underscore. An empty variable is ignored. A value with U+FFFD is rejected, because the command line puts it
//! in the place of bytes that are not UTF-8.

mod ignored;
mod names;

use std::collections::BTreeSet;

use names::{ARRAY_OF_TABLES, LEVEL_SEPARATOR, PREFIX};

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::renamed::{self, RENAMED_KEYS};
use super::report::Report;

/// The only table whose keys are names chosen by the operator, which are case-sensitive.
const CASE_SENSITIVE_TABLE: &str = "issuers";

/// A variable that sets a key.
struct Variable {
    name: String,
    /// The levels of the key with its current name, in the case of the variable.
    levels: Vec<String>,
    value: String,
}

/// Sets the keys in `table` that the variables of `environment` set. `known_keys` returns the paths of all keys, without indexes.
pub(super) fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    known_keys: impl FnOnce() -> BTreeSet<String>,
    report: &mut Report,
) {
    let is_setting = |(name, _): &(String, String)| name.contains(LEVEL_SEPARATOR);
    let (settings, others): (Vec<_>, Vec<_>) =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).partition(is_setting);
    ignored::report(&others, known_keys, report);
    let variable = |(name, value): (String, String)| {
        let levels: Vec<_> = name.strip_prefix(PREFIX)?.split(LEVEL_SEPARATOR).map(str::to_owned).collect();
        (levels.len() > 1 && !value.is_empty()).then_some(Variable { name, levels, value })
    };
    let mut variables: Vec<_> = settings.into_iter().filter_map(variable).collect();
    rename(&mut variables, report);
    // The entries of a list are set in the order of their indexes.
    variables.sort_by_cached_key(|variable| {
        variable.levels.iter().map(|level| sort_key(level)).collect::<Vec<_>>()
    });
    for Variable { name, levels, value } in variables {
        let levels: Vec<_> = levels.iter().map(String::as_str).collect();
        let result = if value.contains(char::REPLACEMENT_CHARACTER) {
            Err("the value is not valid UTF-8, or contains U+FFFD".to_owned())
        } else {
            set(table, &levels, &name, value)
        };
        if let Err(message) = result {
            report.add_unreadable(ConfigLocation::Variable(name), message);
        }
    }
}

/// Replaces the old names of renamed keys in variables by the new names.
fn rename(variables: &mut Vec<Variable>, report: &mut Report) {
    let names: Vec<_> = variables.iter().map(|variable| variable.levels.join(LEVEL_SEPARATOR)).collect();
    variables.retain_mut(|variable| {
        let Some((levels, convert)) = renamed::rename_levels(RENAMED_KEYS, &variable.levels) else {
            return true;
        };
        let location = ConfigLocation::Variable(variable.name.clone());
        let old = key_path(&variable.levels);
        let new = levels.join(LEVEL_SEPARATOR);
        if names.iter().any(|name| name.eq_ignore_ascii_case(&new)) {
            report.add_error(location, old, renamed::conflict(&variable.name, &format!("{PREFIX}{new}")));
            return false;
        }
        report.add_warning(location, old, renamed::warning(&format!("{}, {PREFIX}{new}", key_path(&levels))));
        variable.levels = levels;
        variable.value = convert(&variable.value);
        true
    });
}

/// Returns the path of the key for messages, such as `archive[0].url`.
fn key_path(levels: &[String]) -> String {
    levels.iter().fold(String::new(), |path, level| {
        if level.parse::<usize>().is_ok() {
            format!("{path}[{level}]")
        } else if path.is_empty() {
            level.to_ascii_lowercase()
        } else {
            format!("{path}.{}", level.to_ascii_lowercase())
        }
    })
}

/// Returns a key that sorts indexes by number.
fn sort_key(level: &str) -> (Option<usize>, String) {
    (level.parse().ok(), level.to_owned())
}

fn set(table: &mut Table, levels: &[&str], variable: &str, text: String) -> Result<(), String> {
    let location = || ConfigLocation::Variable(variable.to_owned());
    let (Some((key, rest)), false) = (levels.split_first(), levels.contains(&"")) else {
        return Err("the name has an empty level; write it like GATEWAY_SERVER__LISTEN".to_owned());
    };
    let key = key.to_ascii_lowercase();
    if rest.is_empty() {
        table.entries.insert(key, Node { value: Value::Text(text), location: location() });
        return Ok(());
    }
    let index = rest[0].parse::<usize>().ok();
    let empty = || match index {
        Some(_) => Value::List(Vec::new()),
        None if key == ARRAY_OF_TABLES => Value::List(Vec::new()),
        None => Value::Table(Table { location: Some(location()), ..Table::default() }),
    };
    let is_case_sensitive = key == CASE_SENSITIVE_TABLE;
    let node =
        table.entries.entry(key.clone()).or_insert_with(|| Node { value: empty(), location: location() });
    match (&mut node.value, index) {
        (Value::Table(inner), None) if is_case_sensitive && rest.len() == 1 => {
            inner.entries.insert(rest[0].to_owned(), Node { value: Value::Text(text), location: location() });
            Ok(())
        }
        (Value::Table(inner), None) => set(inner, rest, variable, text),
        (Value::List(items), Some(index)) => {
            if index == items.len() {
                let table = Table { location: Some(location()), ..Table::default() };
                items.push(Node { value: Value::Table(table), location: location() });
            }
            let next = items.len();
            match items.get_mut(index).map(|item| &mut item.value) {
                Some(Value::Table(inner)) => set(inner, &rest[1..], variable, text),
                Some(_) => Err(format!("entry {index} of the list {key} is not a table")),
                None => Err(format!("{key} indexes must be consecutive; the next free index is {next}")),
            }
        }
        (Value::List(_), None) => Err(format!(
            "{key} is a list, so the index of an entry must follow, a number from 0, such as {PREFIX}{}__0__{}",
            key.to_ascii_uppercase(),
            rest[rest.len() - 1]
        )),
        _ => Err(format!("{key} is not a table, so it has no key below it")),
    }
}
