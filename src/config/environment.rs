//! Environment variables, which override the file key by key: `GATEWAY_SERVER__LISTEN` is `server.listen`,
//! `GATEWAY_ARCHIVE__0__URL` the `url` of the first `[[archive]]`. Two underscores separate levels. A variable without them is
//! not a setting: orchestrators set `GATEWAY_SERVICE_HOST` and the like for a service called `gateway`. An empty variable sets
//! nothing.

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::renamed::{self, RENAMED_KEYS};
use super::report::Report;

const PREFIX: &str = "GATEWAY_";
const LEVEL: &str = "__";

/// The only table whose keys the operator makes up: they are case-sensitive.
const VERBATIM_BELOW: &str = "issuers";

/// A variable that sets a key.
struct Variable {
    name: String,
    /// The key's levels, as the variable writes them, under its present name.
    levels: Vec<String>,
    value: String,
}

/// Puts what the variables of `environment` set into `table`.
pub(super) fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    report: &mut Report,
) {
    let variable = |(name, value): (String, String)| {
        let levels: Vec<_> = name.strip_prefix(PREFIX)?.split(LEVEL).map(str::to_owned).collect();
        (levels.len() > 1 && !value.is_empty()).then_some(Variable { name, levels, value })
    };
    let mut variables: Vec<_> = environment.into_iter().filter_map(variable).collect();
    rename(&mut variables, report);
    // By index, so that each entry of a list comes after the one before it.
    variables.sort_by_cached_key(|variable| {
        variable.levels.iter().map(|level| in_order(level)).collect::<Vec<_>>()
    });
    for Variable { name, levels, value } in variables {
        let levels: Vec<_> = levels.iter().map(String::as_str).collect();
        if let Err(message) = set(table, &levels, &name, value) {
            report.unreadable(ConfigLocation::Variable(name), message);
        }
    }
}

/// Gives keys that variables set under an old name their new name.
fn rename(variables: &mut Vec<Variable>, report: &mut Report) {
    let names: Vec<_> = variables.iter().map(|variable| variable.levels.join(LEVEL)).collect();
    variables.retain_mut(|variable| {
        let Some(levels) = renamed::rename_levels(RENAMED_KEYS, &variable.levels) else { return true };
        let location = ConfigLocation::Variable(variable.name.clone());
        let old = key_path(&variable.levels);
        let new = levels.join(LEVEL);
        if names.iter().any(|name| name.eq_ignore_ascii_case(&new)) {
            report.error(location, old, renamed::conflict(&variable.name, &format!("{PREFIX}{new}")));
            return false;
        }
        report.warn(location, old, renamed::warning(&format!("{}, {PREFIX}{new}", key_path(&levels))));
        variable.levels = levels;
        true
    });
}

/// The key as messages name it, such as `archive[0].url`.
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

fn in_order(level: &str) -> (Option<usize>, String) {
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
        None => Value::Table(Table { location: Some(location()), ..Table::default() }),
    };
    let verbatim = key == VERBATIM_BELOW;
    let node =
        table.entries.entry(key.clone()).or_insert_with(|| Node { value: empty(), location: location() });
    match (&mut node.value, index) {
        (Value::Table(inner), None) if verbatim && rest.len() == 1 => {
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
        _ => Err(format!("{key} is not a table, so it has no key below it")),
    }
}
