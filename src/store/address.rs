//! The address of a PostgreSQL database, with the password, which is never printed.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// The parameters of the URL that are accepted, which libpq has, too.
const PARAMETERS: [&str; 7] =
    ["application_name", "host", "sslcert", "sslkey", "sslmode", "sslrootcert", "user"];

/// The name by which the database server knows the connections, unless the URL has another one.
const APPLICATION_NAME: &str = "dicomweb-gateway";

/// How to connect to a database.
#[derive(Clone)]
pub struct PostgresAddress(Box<PgConnectOptions>);

impl PostgresAddress {
    /// Parses a URL such as `postgres://user@host/database`. The password can be in the URL, or `password`.
    pub fn parse(url: &str, password: Option<&SecretString>) -> Result<Self, String> {
        let expected = "expected postgres://user@host/database";
        let url = Url::parse(url).map_err(|_| expected)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || url.path().len() < 2 {
            return Err(expected.to_owned());
        }
        if let Some((unknown, _)) = url.query_pairs().find(|(key, _)| !PARAMETERS.contains(&&**key)) {
            return Err(format!("unknown parameter {unknown}; the parameters are {}", PARAMETERS.join(", ")));
        }
        if password.is_some() && url.password().is_some() {
            return Err("contains a password, and password is set; remove one of them".to_owned());
        }
        // The cause may contain a part of the URL.
        let options: PgConnectOptions =
            url.as_str().parse().map_err(|_| format!("a parameter has an invalid value; {expected}"))?;
        let options = match password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        };
        let has_name = options.get_application_name().is_some();
        let options = if has_name { options } else { options.application_name(APPLICATION_NAME) };
        Ok(Self(Box::new(options)))
    }

    /// Whether what is sent to the server may be readable on the network.
    pub fn may_be_unencrypted(&self) -> bool {
        let host = self.0.get_host();
        let is_local = self.0.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let mode = self.0.get_ssl_mode();
        !is_local && matches!(mode, PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer)
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.0
    }
}

/// Prints the address without the password.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(options) = self;
        let database = options.get_database().unwrap_or_default();
        match options.get_socket() {
            Some(socket) => write!(formatter, "postgres://{}/{database}", socket.display()),
            None => write!(formatter, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl PartialEq for PostgresAddress {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for PostgresAddress {}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresAddress, String> {
        PostgresAddress::parse(url, None)
    }

    #[test]
    fn an_address_is_printed_without_user_and_password() {
        let address = parse("postgres://gateway:geheim@db.example.org/state?sslmode=require").unwrap();
        for text in [address.to_string(), format!("{address:?}")] {
            assert_eq!(text, "postgres://db.example.org:5432/state");
        }
        let secret = SecretString::from("geheim");
        let address = PostgresAddress::parse("postgresql://gateway@[::1]:6000/state", Some(&secret)).unwrap();
        assert!(!format!("{address:?}").contains("geheim"));
    }

    #[test]
    fn errors_about_an_address_do_not_contain_it() {
        let secret = SecretString::from("geheim");
        for error in [
            parse("mysql://gateway:geheim@host/state").unwrap_err(),
            parse("postgres://gateway:geheim@host").unwrap_err(),
            parse("postgres://gateway:geheim@host:port/state").unwrap_err(),
            parse("postgres://gateway@host/state?sslmode=geheim").unwrap_err(),
            parse("postgres://gateway@host/state?pasword=geheim").unwrap_err(),
            PostgresAddress::parse("postgres://gateway:geheim@host/state", Some(&secret)).unwrap_err(),
        ] {
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_connection_to_another_machine_may_be_unencrypted_unless_encryption_is_required() {
        for (url, expected) in [
            ("postgres://gateway@db/state", true),
            ("postgres://gateway@db/state?sslmode=prefer", true),
            ("postgres://gateway@db/state?sslmode=verify-full", false),
            ("postgres://gateway@localhost/state", false),
            ("postgres://gateway@127.0.0.1/state", false),
            ("postgres:///state?user=gateway&host=/run/postgresql", false),
        ] {
            assert_eq!(parse(url).unwrap().may_be_unencrypted(), expected, "{url}");
        }
    }
}
