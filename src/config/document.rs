//! Parses TOML to a tree in which every value has its location.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigLocation;
use super::report::Report;

/// The message of the parser about a key that is set twice.
const DUPLICATE_KEY: &str = "duplicate key";

/// A table: values by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<String, Node>,
    /// The location of the table, which is reported for missing keys.
    pub(super) location: Option<ConfigLocation>,
}

/// A value and its location.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) location: ConfigLocation,
}

/// The value of a key.
#[derive(Debug)]
pub(super) enum Value {
    /// A string, or the content of an environment variable.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// A list of values.
    List(Vec<Node>),
    /// A table, inline or with a header.
    Table(Table),
    /// A value whose type no key accepts, with the name of the type.
    Other(&'static str),
}

/// Parses TOML. Reports invalid lines and reads the other lines.
pub(super) fn read(text: &str, report: &mut Report) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let line_of = |span: Range<usize>| ConfigLocation::Line(line_at(text, span.start));
    for error in errors {
        let location = error.span().map_or(ConfigLocation::File, line_of);
        // The parser does not name the key, which is at the location of the error.
        let key = error.span().filter(|_| error.message() == DUPLICATE_KEY).and_then(|span| text.get(span));
        let message = key.map_or_else(|| error.message().to_owned(), |key| format!("{DUPLICATE_KEY} {key}"));
        report.add_unreadable(location, format!("invalid TOML: {message}"));
    }
    read_table(text, table.get_ref(), None)
}

fn read_table(text: &str, table: &DeTable<'_>, location: Option<ConfigLocation>) -> Table {
    let node = |key: &Spanned<_>, value| Node {
        value,
        location: ConfigLocation::Line(line_at(text, key.span().start)),
    };
    let entries = table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), node(key, read_value(text, value))))
        .collect();
    Table { entries, location }
}

fn read_value(text: &str, value: &Spanned<DeValue<'_>>) -> Value {
    let location = || ConfigLocation::Line(line_at(text, value.span().start));
    match value.get_ref() {
        DeValue::String(string) => Value::Text(string.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("integer beyond 64 bits"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(items) => {
            let node = |item: &Spanned<_>| Node {
                value: read_value(text, item),
                location: ConfigLocation::Line(line_at(text, item.span().start)),
            };
            Value::List(items.iter().map(node).collect())
        }
        DeValue::Table(table) => Value::Table(read_table(text, table, Some(location()))),
        other => Value::Other(other.type_str()),
    }
}

/// Returns the line that contains the byte at `offset`, starting at 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
