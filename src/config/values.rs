//! What single values mean. Each reader says in its error what was expected; none of them repeats what it was given
//! unless that can be no secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

use super::document::Value;
use crate::http::cors::{Cors, Origin};
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// A day: no wait of the gateway's is longer.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// Text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.trim().is_empty() => Ok(text.clone()),
        other => Err(format!("text is expected, not {}", kind(other))),
    }
}

/// `address:port`.
pub(super) fn socket_address(value: &Value) -> Result<SocketAddr, String> {
    parsed(value, "an address and a port are expected, like \"127.0.0.1:8080\" or \"[::]:8080\"", |text| {
        text.parse().ok()
    })
}

/// `30s` and the like.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let expected =
        "a length of time between 1ms and 24h is expected: a whole number and ms, s, m or h, like \"30s\"";
    parsed(value, expected, read_duration)
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

/// `512MiB` and the like.
pub(super) fn size(value: &Value) -> Result<u64, String> {
    let expected = "a size of 1MiB at least is expected, like \"512MiB\" or \"2GiB\"";
    let least = ByteSize::mib(1);
    parsed(value, expected, |text| text.parse::<ByteSize>().ok().filter(|size| *size >= least))
        .map(|size| size.as_u64())
}

/// The size of one of many buffers, which is counted in kibibytes.
pub(super) fn buffer_size(value: &Value) -> Result<usize, String> {
    let expected = "a size from 16KiB to 16MiB is expected, like \"64KiB\"";
    let range = ByteSize::kib(16)..=ByteSize::mib(16);
    let size =
        parsed(value, expected, |text| text.parse::<ByteSize>().ok().filter(|size| range.contains(size)))?;
    usize::try_from(size.as_u64()).map_err(|_| expected.to_owned())
}

/// A whole number from `least` to `most`.
pub(super) fn count(least: usize, most: usize) -> impl FnOnce(&Value) -> Result<usize, String> {
    move |value| {
        let number = match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("a whole number from {least} to {most} is expected, not {}", kind(value)))
    }
}

/// true or false.
pub(super) fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        other => Err(format!("true or false is expected, not {}", kind(other))),
    }
}

/// The URL of a service that the gateway calls. Its text may contain a password, so errors do not repeat it.
pub(super) fn service_url(value: &Value) -> Result<Url, String> {
    let expected = "an address is expected, http:// or https://, without user, query and fragment, like \
                    \"https://pacs.example.org/dicom-web\"";
    let text = text(value).map_err(|_| expected.to_owned())?;
    let url = Url::parse(&text).map_err(|_| expected.to_owned())?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_plain { Ok(url) } else { Err(expected.to_owned()) }
}

/// The address that the gateway is known under.
pub(super) fn public_url(value: &Value) -> Result<PublicBase, String> {
    let text = text(value)?;
    PublicBase::parse(&text).map_err(|error| error.to_string())
}

/// A list of networks, or in the environment one text with commas.
pub(super) fn networks(value: &Value) -> Result<Vec<IpNetwork>, String> {
    list(value, "a list of networks is expected, like [\"10.0.0.0/8\"]", str::parse::<IpNetwork>)
}

/// The pages that may read the answers: a list of origins, or `"*"` alone for every page.
pub(super) fn origins(value: &Value) -> Result<Cors, String> {
    let expected = "a list of origins is expected, like [\"https://viewer.example.org\"]";
    let texts = list(value, expected, |text| Ok::<_, std::convert::Infallible>(text.to_owned()))?;
    match texts.as_slice() {
        [] => Ok(Cors::None),
        [any] if any == "*" => Ok(Cors::Any),
        origins => origins
            .iter()
            .map(|text| {
                Origin::parse(text)
                    .map_err(|error| format!("{text:?}: {error}; or \"*\" alone for every page"))
            })
            .collect::<Result<_, _>>()
            .map(Cors::Of),
    }
}

fn list<T, E: std::fmt::Display>(
    value: &Value,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    let read = |text: &str| parse(text.trim()).map_err(|error| format!("{text:?}: {error}"));
    match value {
        Value::Text(text) => text.split(',').map(read).collect(),
        Value::List(items) => items.iter().map(|item| read(&self::text(&item.value)?)).collect(),
        other => Err(format!("{expected}, not {}", kind(other))),
    }
}

/// The URI that an identifier's values are unique under.
pub(super) fn identifier_system(value: &Value) -> Result<String, String> {
    let expected =
        "an absolute URI is expected, like \"urn:oid:2.999.1\" or \"https://hospital.example/patient-id\"";
    let is_oid = |oid: &str| {
        oid.split('.').count() > 1
            && oid.split('.').all(|arc| {
                !arc.is_empty()
                    && arc.bytes().all(|byte| byte.is_ascii_digit())
                    && (arc == "0" || !arc.starts_with('0'))
            })
    };
    parsed(value, expected, |text| {
        let is_uri = Url::parse(text).is_ok() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let is_sound = text.strip_prefix("urn:oid:").is_none_or(is_oid);
        (is_uri && is_sound).then(|| text.to_owned())
    })
}

/// One of `names`.
pub(super) fn one_of<T: Copy>(names: &[(&str, T)]) -> impl FnOnce(&Value) -> Result<T, String> {
    let names: Vec<_> = names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    move |value| {
        let list = || names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let found = match value {
            Value::Text(text) => names.iter().find(|(name, _)| name == text),
            _ => None,
        };
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("one of {} is expected, not {}", list(), kind(value)))
    }
}

/// A list of any of `names`, or in the environment one text with commas.
pub(super) fn several_of<T: Copy + Ord>(
    names: &[(&str, T)],
) -> impl FnOnce(&Value) -> Result<BTreeSet<T>, String> {
    let names: Vec<_> = names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    move |value| {
        let names: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        match value {
            Value::Text(text) => {
                text.split(',').map(|name| one_of(&names)(&Value::Text(name.trim().to_owned()))).collect()
            }
            Value::List(items) => items.iter().map(|item| one_of(&names)(&item.value)).collect(),
            other => Err(format!("a list of names is expected, not {}", kind(other))),
        }
    }
}

fn parsed<T>(value: &Value, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    let found = match value {
        Value::Text(text) => parse(text),
        _ => None,
    };
    found.ok_or_else(|| format!("{expected}, not {}", kind(value)))
}

/// The value for a message; short, for what is long is no key's value.
fn kind(value: &Value) -> String {
    match value {
        Value::Text(text) if text.trim().is_empty() => "empty text".to_owned(),
        Value::Text(text) if text.len() <= 64 => format!("{text:?}"),
        Value::Text(_) => "a long text".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Other(name) => format!("a value of the kind {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn lengths_of_time_and_sizes() {
        for (text, milliseconds) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("24h", 86_400_000)] {
            assert_eq!(duration(&written(text)), Ok(Duration::from_millis(milliseconds)));
        }
        for bad in ["", "30", "s", "0s", "-1s", "1.5s", "25h", "1d", "30 s", "99999999999999999999s"] {
            assert!(duration(&written(bad)).is_err(), "{bad}");
        }
        assert_eq!(size(&written("512MiB")), Ok(512 << 20));
        for bad in ["", "512", "MiB", "1KiB", "-1MiB"] {
            assert!(size(&written(bad)).is_err(), "{bad}");
        }
        assert_eq!(buffer_size(&written("64KiB")), Ok(64 << 10));
        for bad in ["", "64", "15KiB", "17MiB"] {
            assert!(buffer_size(&written(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_of_archives_hold_nothing_but_the_address() {
        assert!(service_url(&written("http://127.0.0.1:8042/dicom-web")).is_ok());
        for bad in [
            "",
            "pacs",
            "ftp://a",
            "http://u:hush@a/b",
            "http://a/?b",
            "http://a/#b",
            "file:///etc",
            "http://",
        ] {
            let error = service_url(&written(bad)).unwrap_err();
            assert!(!error.contains("hush"));
        }
    }

    #[test]
    fn systems_are_absolute() {
        for good in
            ["urn:oid:2.999.1", "https://a.example/ids", "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"]
        {
            assert!(identifier_system(&written(good)).is_ok(), "{good}");
        }
        for bad in ["", "2.999", "urn:oid:", "urn:oid:1.02", "urn:oid:1..2", "urn:oid:1", "a b", "http://a b"]
        {
            assert!(identifier_system(&written(bad)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,40}") {
            let value = written(&text);
            let _ = (duration(&value), size(&value), service_url(&value), identifier_system(&value), networks(&value));
            let _ = (socket_address(&value), public_url(&value), count(1, 2)(&value));
        }
    }
}
