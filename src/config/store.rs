//! `[store]`: where the durable state is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::secret::Secret;
use super::section::{Section, Setting};
use super::values::{count, duration};
use crate::store::{PostgresAddress, StoreLocation, StoreSettings};

/// The default of `timeout`. A call takes milliseconds; a disk that has not responded by then is not about to.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The default of `connect_timeout`. Connecting takes milliseconds, and `timeout` includes it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The default of `max_connections`. Transactions take turns, and a read takes a millisecond.
const MAX_CONNECTIONS: usize = 8;

/// The beginning of the URL of a file.
const SQLITE: &str = "sqlite:";

pub(super) fn read(section: &mut Section<'_>) -> Option<StoreSettings> {
    let timeout = section.take_or("timeout", duration, TIMEOUT);
    let connect_timeout = section.take_or("connect_timeout", duration, CONNECT_TIMEOUT);
    let max_connections = section.take_or("max_connections", count(2, 1000), MAX_CONNECTIONS);
    let password = Secret::take_text(section, "password", "password_file");
    let location = match (Secret::take_text(section, "url", "url_file"), password) {
        (Secret::Invalid, _) | (_, Secret::Invalid) => return None,
        (Secret::Missing, Secret::Missing) => StoreLocation::Memory,
        (Secret::Missing, Secret::Found(password)) => {
            let message = "is the password of a postgres:// URL, and url is not set".to_owned();
            section.report_error(password.location, "password", message);
            return None;
        }
        (Secret::Found(url), password) => read_url(section, url, password.into_optional().as_ref())?,
    };
    Some(StoreSettings { location, timeout, connect_timeout, max_connections })
}

/// Reads the URL, which no message contains.
fn read_url(
    section: &mut Section<'_>,
    url: Setting<SecretString>,
    password: Option<&SecretString>,
) -> Option<StoreLocation> {
    let Setting { value, location } = url;
    let parsed = parse_url(value.expose_secret(), password, |path| section.resolve_path(path));
    match parsed {
        Ok(parsed) => {
            if let StoreLocation::Postgres(address) = &parsed
                && address.may_be_unencrypted()
            {
                let message = "the connection may be unencrypted; add ?sslmode=verify-full".to_owned();
                section.warn(location, "url", message);
            }
            Some(parsed)
        }
        Err(message) => {
            section.report_error(location, "url", message);
            None
        }
    }
}

fn parse_url(
    url: &str,
    password: Option<&SecretString>,
    resolve: impl FnOnce(&Path) -> PathBuf,
) -> Result<StoreLocation, String> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return PostgresAddress::parse(url, password).map(StoreLocation::Postgres);
    }
    let expected = "expected \"sqlite:\" and the path of a file, such as \"sqlite:/var/lib/dicomweb-gateway/gateway.db\", or \
                    postgres://user@host/database";
    let path = url.strip_prefix(SQLITE).filter(|path| !path.is_empty() && !path.ends_with('/'));
    let path = path.ok_or(expected)?;
    if password.is_some() {
        return Err("is the path of a file, and password is set; remove password".to_owned());
    }
    // sqlite:///path is the form of RFC 3986 with an empty host.
    let file =
        resolve(Path::new(path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path)));
    // A directory that the gateway creates would be lost with a container whose volume has another path.
    match file.parent().filter(|directory| !directory.is_dir()) {
        None => Ok(StoreLocation::Sqlite(file)),
        Some(directory) => Err(format!(
            "{} is not a directory; create it, writable by the user that runs the gateway",
            directory.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_directory_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |url: &str| parse_url(url, None, |path| folder.path().join(path));
        let expected = StoreLocation::Sqlite(folder.path().join("gateway.db"));
        assert_eq!(parse("sqlite:gateway.db"), Ok(expected.clone()));
        for slashes in ["", "//"] {
            assert_eq!(
                parse(&format!("sqlite:{slashes}{}/gateway.db", folder.path().display())),
                Ok(expected.clone())
            );
        }
        for url in ["", "gateway.db", "sqlite:", "sqlite:state/", "mysql://host/db"] {
            assert!(parse(url).unwrap_err().starts_with("expected \"sqlite:\""), "{url}");
        }
        assert!(parse("sqlite:/nowhere/gateway.db").unwrap_err().starts_with("/nowhere is not a directory"));
    }
}
