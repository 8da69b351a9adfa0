//! Parses single values. The error of each parser describes the expected value, and contains the actual value only if it cannot be
//! a secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

use super::document::Value;
use crate::http::accepted_hosts::HostName;
use crate::http::cors::{Cors, Origin};
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// Maximum duration of any setting: one day.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// Parses text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
        other => Err(format!("expected text, not {}", describe(other))),
    }
}

/// Describes the address of a listener. A host name is not accepted, because it may have several addresses.
pub const EXPECTED_LISTEN_ADDRESS: &str =
    "expected an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";

/// Parses `address:port`.
pub(super) fn socket_address(value: &Value) -> Result<SocketAddr, String> {
    parse(value, EXPECTED_LISTEN_ADDRESS, |text| text.parse().ok())
}

/// Parses a duration with a unit, such as `30s`.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let expected =
        "expected a duration between 1ms and 24h, a whole number with ms, s, m or h, such as \"30s\"";
    parse(value, expected, read_duration)
}

/// Parses a duration with a unit, or `0s` for none.
pub(super) fn duration_or_none(value: &Value) -> Result<Duration, String> {
    let expected =
        "expected 0s or a duration of at most 24h, a whole number with ms, s, m or h, such as \"30s\"";
    parse(value, expected, |text| if text == "0s" { Some(Duration::ZERO) } else { read_duration(text) })
}

fn read_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    (Duration::from_millis(1)..=MAX_DURATION).contains(&duration).then_some(duration)
}

/// Parses a size with a unit, such as `512MiB`, in bytes.
pub(super) fn size(value: &Value) -> Result<u64, String> {
    let expected = "expected a size of at least 1MiB, such as \"512MiB\" or \"2GiB\"";
    let minimum = ByteSize::mib(1);
    parse(value, expected, |text| text.parse::<ByteSize>().ok().filter(|size| *size >= minimum))
        .map(|size| size.as_u64())
}

/// Parses the size of a buffer with a unit, such as `64KiB`, in bytes.
pub(super) fn buffer_size(value: &Value) -> Result<usize, String> {
    let expected = "expected a size from 16KiB to 16MiB, such as \"64KiB\"";
    let range = ByteSize::kib(16)..=ByteSize::mib(16);
    let size =
        parse(value, expected, |text| text.parse::<ByteSize>().ok().filter(|size| range.contains(size)))?;
    usize::try_from(size.as_u64()).map_err(|_| expected.to_owned())
}

/// Parses a whole number from `min` to `max`.
pub(super) fn count(min: usize, max: usize) -> impl FnOnce(&Value) -> Result<usize, String> {
    move |value| {
        let number = match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("expected a whole number from {min} to {max}, not {}", describe(value)))
    }
}

/// Parses true or false.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        other => Err(format!("expected true or false, not {}", describe(other))),
    }
}

/// Parses the URL of a service that the gateway calls. The text may contain a password, so errors do not contain it.
pub(super) fn service_url(value: &Value) -> Result<Url, String> {
    let expected = "expected an http:// or https:// URL without credentials, query or fragment, such as \
                    \"https://pacs.example.org/dicom-web\"";
    let text = text(value).map_err(|_| expected.to_owned())?;
    let url = Url::parse(&text).map_err(|_| expected.to_owned())?;
    let is_valid = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_valid { Ok(url) } else { Err(expected.to_owned()) }
}

/// Parses the public URL of the gateway.
pub(super) fn public_url(value: &Value) -> Result<PublicBase, String> {
    let text = text(value)?;
    PublicBase::parse(&text).map_err(|error| error.to_string())
}

/// Parses a list of networks; in the environment, a comma-separated text.
pub(super) fn networks(value: &Value) -> Result<Vec<IpNetwork>, String> {
    list(value, "expected a list of networks, such as [\"10.0.0.0/8\"]", str::parse::<IpNetwork>)
}

/// Parses a list of host names.
pub(super) fn host_names(value: &Value) -> Result<Vec<HostName>, String> {
    list(value, "expected a list of host names, such as [\"imaging.example.org\"]", str::parse::<HostName>)
}

/// Parses the origins whose pages may read responses: a list, or only `"*"` for every origin.
pub(super) fn origins(value: &Value) -> Result<Cors, String> {
    let expected = "expected a list of origins, such as [\"https://viewer.example.org\"]";
    let texts = list(value, expected, |text| Ok::<_, std::convert::Infallible>(text.to_owned()))?;
    match texts.as_slice() {
        [] => Ok(Cors::None),
        [origin] if origin == "*" => Ok(Cors::Any),
        origins => collect(origins.iter().map(|text| {
            Origin::parse(text).map_err(|error| format!("{text:?}: {error}; or \"*\" alone for every origin"))
        }))
        .map_err(|errors| errors.join("; and "))
        .map(Cors::Origins),
    }
}

fn list<T, E: std::fmt::Display>(
    value: &Value,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    let read = |text: &str| parse(text.trim()).map_err(|error| format!("{text:?}: {error}"));
    match value {
        Value::Text(text) => collect(text.split(',').map(read)),
        Value::List(items) => collect(items.iter().map(|item| read(&self::text(&item.value)?))),
        other => return Err(format!("{expected}, not {}", describe(other))),
    }
    .map_err(|errors| errors.join("; and "))
}

/// Collects the items of a list, or the errors of all items that are not valid.
fn collect<T>(items: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, Vec<String>> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// Parses the system of identifiers: the URI of the namespace in which their values are unique.
pub(super) fn identifier_system(value: &Value) -> Result<String, String> {
    let expected =
        "expected an absolute URI, such as \"urn:oid:2.999.1\" or \"https://hospital.example/patient-id\"";
    let is_oid = |oid: &str| {
        oid.split('.').count() > 1
            && oid.split('.').all(|arc| {
                !arc.is_empty()
                    && arc.bytes().all(|byte| byte.is_ascii_digit())
                    && (arc == "0" || !arc.starts_with('0'))
            })
    };
    parse(value, expected, |text| {
        let is_uri = Url::parse(text).is_ok() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let has_valid_oid = text.strip_prefix("urn:oid:").is_none_or(is_oid);
        (is_uri && has_valid_oid).then(|| text.to_owned())
    })
}

/// Parses one of `names`.
pub(super) fn one_of<T: Copy>(names: &[(&str, T)]) -> impl FnOnce(&Value) -> Result<T, String> {
    let names: Vec<_> = names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    move |value| {
        choose(&names, value)
            .ok_or_else(|| format!("expected one of {}, not {}", quoted_names(&names), describe(value)))
    }
}

/// Returns the value of the name that `value` contains.
fn choose<T: Copy>(names: &[(String, T)], value: &Value) -> Option<T> {
    let Value::Text(text) = value else { return None };
    names.iter().find(|(name, _)| name == text).map(|(_, value)| *value)
}

fn quoted_names<T>(names: &[(String, T)]) -> String {
    names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Parses a list of `names`; in the environment, a comma-separated text.
pub(super) fn several_of<T: Copy + Ord>(
    names: &[(&str, T)],
) -> impl FnOnce(&Value) -> Result<BTreeSet<T>, String> {
    let names: Vec<_> = names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    move |value| {
        let parse = |item: &Value| choose(&names, item).ok_or_else(|| describe(item));
        let values = match value {
            Value::Text(text) => {
                collect(text.split(',').map(|name| parse(&Value::Text(name.trim().to_owned()))))
            }
            Value::List(items) => collect(items.iter().map(|item| parse(&item.value))),
            other => return Err(format!("expected a list of names, not {}", describe(other))),
        };
        let values = values.map_err(|invalid| {
            format!("expected one of {} for each item, not {}", quoted_names(&names), invalid.join(" or "))
        })?;
        Ok(values.into_iter().collect())
    }
}

fn parse<T>(value: &Value, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    let result = match value {
        Value::Text(text) => parse(text),
        _ => None,
    };
    result.ok_or_else(|| format!("{expected}, not {}", describe(value)))
}

/// Describes the value for messages. A long text is not repeated.
fn describe(value: &Value) -> String {
    match value {
        Value::Text(text) if text.trim().is_empty() => "empty text".to_owned(),
        Value::Text(text) if text.len() <= 64 => format!("{text:?}"),
        Value::Text(_) => "a long text".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Other(name) => format!("a value of type {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_value(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn durations_and_sizes_without_a_unit_or_beyond_their_bounds_are_rejected() {
        for (text, milliseconds) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("24h", 86_400_000)] {
            assert_eq!(duration(&text_value(text)), Ok(Duration::from_millis(milliseconds)));
        }
        for invalid in ["", "30", "s", "0s", "-1s", "1.5s", "25h", "1d", "30 s", "99999999999999999999s"] {
            assert!(duration(&text_value(invalid)).is_err(), "{invalid}");
        }
        assert_eq!(size(&text_value("512MiB")), Ok(512 << 20));
        for invalid in ["", "512", "MiB", "1KiB", "-1MiB"] {
            assert!(size(&text_value(invalid)).is_err(), "{invalid}");
        }
        assert_eq!(buffer_size(&text_value("64KiB")), Ok(64 << 10));
        for invalid in ["", "64", "15KiB", "17MiB"] {
            assert!(buffer_size(&text_value(invalid)).is_err(), "{invalid}");
        }
    }

    #[test]
    fn urls_of_archives_with_credentials_query_or_fragment_are_rejected() {
        assert!(service_url(&text_value("http://127.0.0.1:8042/dicom-web")).is_ok());
        for invalid in [
            "",
            "pacs",
            "ftp://a",
            "http://u:hush@a/b",
            "http://a/?b",
            "http://a/#b",
            "file:///etc",
            "http://",
        ] {
            let error = service_url(&text_value(invalid)).unwrap_err();
            assert!(!error.contains("hush"));
        }
    }

    #[test]
    fn an_identifier_system_that_is_not_an_absolute_uri_is_rejected() {
        for valid in
            ["urn:oid:2.999.1", "https://a.example/ids", "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"]
        {
            assert!(identifier_system(&text_value(valid)).is_ok(), "{valid}");
        }
        for invalid in
            ["", "2.999", "urn:oid:", "urn:oid:1.02", "urn:oid:1..2", "urn:oid:1", "a b", "http://a b"]
        {
            assert!(identifier_system(&text_value(invalid)).is_err(), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn parsers_do_not_panic_for_any_text(text in "\\PC{0,40}") {
            let value = text_value(&text);
            let _ = (duration(&value), size(&value), service_url(&value), identifier_system(&value), networks(&value));
            let _ = (socket_address(&value), public_url(&value), count(1, 2)(&value));
        }
    }
}
