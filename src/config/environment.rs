//! Environment variables over the file: `GATEWAY_SERVER__LISTEN` is `server.listen`, `GATEWAY_ARCHIVE__0__URL` the `url`
//! of the first `[[archive]]`. Two underscores part the levels, so a variable without them is none of ours: an
//! orchestrator sets `GATEWAY_SERVICE_HOST` and the like for a service called `gateway`. An empty variable sets nothing.

use super::document::{Node, Table, Value};
use super::error::ConfigLocation;
use super::section::Report;

const PREFIX: &str = "GATEWAY_";
const LEVEL: &str = "__";

/// The one table whose keys are the operator's words, and not ours: their case counts.
const VERBATIM_BELOW: &str = "issuers";

/// Sets what the variables of `environment` say in `table`.
pub(super) fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    report: &mut Report,
) {
    let is_ours = |(name, value): &(String, String)| {
        !value.is_empty() && name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains(LEVEL))
    };
    let mut variables: Vec<_> = environment.into_iter().filter(is_ours).collect();
    // In the order of their numbers, so that every entry of a list comes after the one before it.
    variables.sort_by_cached_key(|(name, _)| name.split(LEVEL).map(in_order).collect::<Vec<_>>());
    for (name, value) in variables {
        let segments: Vec<_> = name[PREFIX.len()..].split(LEVEL).collect();
        if let Err(message) = set(table, &segments, &name, value) {
            report.broken(ConfigLocation::Variable(name), message);
        }
    }
}

fn in_order(segment: &str) -> (Option<usize>, String) {
    (segment.parse().ok(), segment.to_owned())
}

fn set(table: &mut Table, segments: &[&str], variable: &str, text: String) -> Result<(), String> {
    let place = || ConfigLocation::Variable(variable.to_owned());
    let (Some((key, rest)), false) = (segments.split_first(), segments.contains(&"")) else {
        return Err("the name has an empty part; a key is written like GATEWAY_SERVER__LISTEN".to_owned());
    };
    let key = key.to_ascii_lowercase();
    if rest.is_empty() {
        table.entries.insert(key, Node { value: Value::Text(text), place: place() });
        return Ok(());
    }
    let index = rest[0].parse::<usize>().ok();
    let empty = || match index {
        Some(_) => Value::List(Vec::new()),
        None => Value::Table(Table { place: Some(place()), ..Table::default() }),
    };
    let verbatim = key == VERBATIM_BELOW;
    let node = table.entries.entry(key).or_insert_with(|| Node { value: empty(), place: place() });
    match (&mut node.value, index) {
        (Value::Table(inner), None) if verbatim && rest.len() == 1 => {
            inner.entries.insert(rest[0].to_owned(), Node { value: Value::Text(text), place: place() });
            Ok(())
        }
        (Value::Table(inner), None) => set(inner, rest, variable, text),
        (Value::List(items), Some(index)) => {
            if index == items.len() {
                let table = Table { place: Some(place()), ..Table::default() };
                items.push(Node { value: Value::Table(table), place: place() });
            }
            let count = items.len();
            match items.get_mut(index).map(|item| &mut item.value) {
                Some(Value::Table(inner)) => set(inner, &rest[1..], variable, text),
                Some(_) => Err(format!("entry {index} of the list is no table")),
                None => Err(format!(
                    "there are {count} entries before it, numbered from 0; the next one is {count}, not {index}"
                )),
            }
        }
        _ => Err("the name goes on below a key that holds no table".to_owned()),
    }
}
