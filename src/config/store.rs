//! `[store]`: where the durable state is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::secret::Secret;
use super::section::{Section, Setting};
use super::values::duration;
use crate::store::{StoreLocation, StoreSettings};

/// The default of `timeout`. A call takes milliseconds; a disk that has not responded by then is not about to.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The beginning of the URL of a file.
const SQLITE: &str = "sqlite:";

pub(super) fn read(section: &mut Section<'_>) -> Option<StoreSettings> {
    let timeout = section.take_or("timeout", duration, TIMEOUT);
    let location = match Secret::take_text(section, "url", "url_file") {
        Secret::Missing => StoreLocation::Memory,
        Secret::Invalid => return None,
        Secret::Found(url) => read_url(section, url)?,
    };
    Some(StoreSettings { location, timeout })
}

/// Reads the URL, which no message contains.
fn read_url(section: &mut Section<'_>, url: Setting<secrecy::SecretString>) -> Option<StoreLocation> {
    let Setting { value, location } = url;
    match parse_url(value.expose_secret(), |path| section.resolve_path(path)) {
        Ok(parsed) => Some(parsed),
        Err(message) => {
            section.report_error(location, "url", message);
            None
        }
    }
}

fn parse_url(url: &str, resolve: impl FnOnce(&Path) -> PathBuf) -> Result<StoreLocation, String> {
    let expected = "expected the path of a file, such as \"sqlite:/var/lib/dicomweb-gateway/gateway.db\"";
    let path = url.strip_prefix(SQLITE).filter(|path| !path.is_empty() && !path.ends_with('/'));
    let path = path.ok_or(expected)?;
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
        let parse = |url: &str| parse_url(url, |path| folder.path().join(path));
        let expected = StoreLocation::Sqlite(folder.path().join("gateway.db"));
        assert_eq!(parse("sqlite:gateway.db"), Ok(expected.clone()));
        for slashes in ["", "//"] {
            assert_eq!(
                parse(&format!("sqlite:{slashes}{}/gateway.db", folder.path().display())),
                Ok(expected.clone())
            );
        }
        for url in ["", "gateway.db", "sqlite:", "sqlite:state/", "mysql://host/db"] {
            assert!(parse(url).unwrap_err().starts_with("expected the path of a file"), "{url}");
        }
        assert!(parse("sqlite:/nowhere/gateway.db").unwrap_err().starts_with("/nowhere is not a directory"));
    }
}
