//! The address of a PostgreSQL server: what of it means something here, and how to reach the server by it.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::OpenError;

/// Parameters that an address may have. Whatever else stands there is refused and not repeated: it may be the end of a
/// password whose `?` was not escaped.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Hosts that are this machine.
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "::1", "[::1]"];

/// What `sslmode` can be. PostgreSQL's `allow` is not among them: it would be the same as `disable` here.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// How the server's administrators see us, unless the address says otherwise.
const APPLICATION_NAME: &str = "mindweave";

/// A server and a database in it.
#[derive(Clone)]
pub(super) struct Address {
    /// Holds a password: must never be shown.
    pub(super) options: PgConnectOptions,
    /// Server and database, without credentials.
    pub(super) shown: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`. What it does not say comes
    /// from PostgreSQL's own variables (`PGPASSWORD`) and password file, as for `psql`.
    ///
    /// # Errors
    /// [`OpenError::Address`], which repeats no part of it.
    pub(super) fn read(url: &str) -> Result<Self, OpenError> {
        let refused = |reason: &str| OpenError::Address { reason: reason.to_owned() };
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let keys: Vec<_> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
        let known = |key: &&str| key.is_empty() || PARAMETERS.contains(key) || key.starts_with("options[");
        if !keys.iter().all(known) {
            return Err(refused(&format!(
                "it has a parameter that is none of {} (in a user name or password, `?`, `#`, `/` and `@` are written \
                 `%3F`, `%23`, `%2F` and `%40`)",
                PARAMETERS.join(", ")
            )));
        }
        let mode = query.split('&').find_map(|pair| pair.strip_prefix("sslmode="));
        if mode.is_some_and(|mode| !SSL_MODES.contains(&mode)) {
            return Err(refused(&format!("its `sslmode` is none of {}", SSL_MODES.join(", "))));
        }
        // What it says of other faults is what kind they are.
        let mut options = PgConnectOptions::from_str(url).map_err(|error| match error {
            sqlx::Error::Configuration(cause) => refused(&cause.to_string()),
            other => refused(&other.to_string()),
        })?;
        // As PostgreSQL's own library has it: who names an authority wants it checked.
        if keys.contains(&"sslrootcert") && matches!(options.get_ssl_mode(), PgSslMode::Require) {
            options = options.ssl_mode(PgSslMode::VerifyCa);
        }
        if options.get_application_name().is_none() {
            options = options.application_name(APPLICATION_NAME);
        }
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let shown = match options.get_socket() {
            Some(socket) => format!("{} at {}", database, socket.display()),
            None => format!("{} at {}:{}", database, options.get_host(), options.get_port()),
        };
        Ok(Self { options, shown })
    }

    /// Whether the server is on this machine, so that nobody listens in.
    pub(super) fn is_local(&self) -> bool {
        self.options.get_socket().is_some() || LOCAL_HOSTS.contains(&self.options.get_host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        Address::read(url).unwrap().options.get_ssl_mode()
    }

    #[test]
    fn an_address_is_shown_without_credentials() {
        let address = Address::read("postgres://me:s3cret@db.example:5433/ledger?sslmode=require").unwrap();
        assert_eq!(address.shown, "ledger at db.example:5433");
        let socket = Address::read("postgres://me:s3cret@%2Frun%2Fpg/ledger").unwrap();
        assert_eq!(socket.shown, "ledger at /run/pg");
        assert_eq!(address.options.get_application_name(), Some("mindweave"));
    }

    #[test]
    fn an_authority_that_is_named_is_checked() {
        assert!(matches!(mode("postgres://h/d?sslmode=require"), PgSslMode::Require));
        assert!(matches!(mode("postgres://h/d?sslmode=require&sslrootcert=ca.pem"), PgSslMode::VerifyCa));
        assert!(matches!(
            mode("postgres://h/d?sslmode=verify-full&sslrootcert=ca.pem"),
            PgSslMode::VerifyFull
        ));
    }

    #[test]
    fn a_refused_address_is_not_repeated() {
        for url in [
            "postgres://me:12?s3cret@db/ledger",
            "postgres://me:s3cret@db:5432x/ledger",
            "postgres://me:s3cret@db:99999/ledger",
            "postgres://me:s3#cret@db/ledger",
            "postgres://me:s3/cret@db/ledger",
            "postgres://db/ledger?pasword=s3cret",
            "postgres://db/ledger?sslmode=s3cret",
            "postgres://me:s3cret@[::1/ledger",
        ] {
            let Err(error) = Address::read(url).map(|_| ()) else { panic!("{url} was read") };
            let text = format!("{error} {error:?}");
            assert!(!text.contains("cret") && !text.contains("s3"), "{text}");
        }
    }
}
