//! The types a setting can have: what texts they allow and how those are read.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use mindweave_control_plane::MigrateMode;
use mindweave_policy::Secret;
use mindweave_proxy::{BatchResults, JournalFull, Unregistered, UpstreamProtocol};
use ureq::http::uri::Authority;

/// A type of setting.
pub(crate) trait Setting: Sized {
    /// What is allowed, to follow "must be".
    fn allowed() -> String;

    /// The value that a text stands for, if it stands for one.
    fn read(text: &str) -> Option<Self>;

    /// The value of a setting that was not given and has no default.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    fn allowed() -> String {
        T::allowed()
    }

    fn read(text: &str) -> Option<Self> {
        T::read(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Setting for SocketAddr {
    fn allowed() -> String {
        "an IP address and a port (0 for any free one), for example `127.0.0.1:8000`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for PathBuf {
    fn allowed() -> String {
        "a path".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl Setting for NonZeroUsize {
    fn allowed() -> String {
        "a whole number from 1".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for NonZeroU32 {
    fn allowed() -> String {
        NonZeroUsize::allowed()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Units of time with their milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

impl Setting for Duration {
    fn allowed() -> String {
        "a time longer than zero with its unit (ms, s, m, h), for example `250ms`, `5s` or `10m`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        let millis = number_with_unit(text, &TIME_UNITS)?;
        (millis > 0).then(|| Self::from_millis(millis))
    }
}

/// Units of size with their bytes.
const SIZE_UNITS: [(&str, u64); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A size in bytes, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl Setting for ByteSize {
    fn allowed() -> String {
        "a size above zero in bytes or with a unit (KiB, MiB, GiB), for example `64MiB`".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        number_with_unit(text, &SIZE_UNITS).filter(|bytes| *bytes > 0).map(Self)
    }
}

/// Reads `10m` or `64 MiB`: digits, an optional space, a unit.
fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The base URL of a server: scheme, host, port and perhaps a path that goes in front of every request's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    /// The URL, without slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the scheme is `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The host, without the brackets of an IPv6 address, and the port.
    pub(crate) fn host_and_port(&self) -> Option<(String, u16)> {
        let (authority, _) = authority_and_path(&self.0)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let default = if self.is_tls() { HTTPS_PORT } else { HTTP_PORT };
        Some((host, authority.port_u16().unwrap_or(default)))
    }

    /// Whether this URL is spelt as that very address, or as `localhost` on its port.
    pub(super) fn is_at(&self, addr: SocketAddr) -> bool {
        let Some((host, port)) = self.host_and_port() else { return false };
        let local = addr.ip().is_loopback() || addr.ip().is_unspecified();
        let same_host = match host.parse::<IpAddr>() {
            Ok(ip) => ip == addr.ip() || (local && ip.is_loopback()),
            Err(_) => local && host == "localhost",
        };
        same_host && port == addr.port()
    }
}

impl Setting for BaseUrl {
    fn allowed() -> String {
        "`http://` or `https://` with a host, and where needed a port and a path".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        let url = text.strip_suffix('/').unwrap_or(text);
        authority_and_path(url).map(|_| Self(url.to_owned()))
    }
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Takes an HTTP URL apart; `None` for anything else, and for user names, queries and fragments, which have no meaning here.
fn authority_and_path(url: &str) -> Option<(Authority, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let path_is_sound = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    let parsed: Authority = authority.parse().ok()?;
    let port = authority.strip_prefix(parsed.host())?; // fails for `user@host`, which is no place for a password
    let port_is_sound = port.is_empty() || parsed.port_u16().is_some();
    (!parsed.host().is_empty() && port_is_sound && path_is_sound).then_some((parsed, path))
}

/// Where the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    /// `sqlite:`: the usual file in the data folder.
    InDataDir,
    /// `sqlite:PATH`
    File(PathBuf),
    /// `postgres://..`
    Server(Secret),
}

impl Setting for Database {
    fn allowed() -> String {
        "`sqlite:` (a file in `data_dir`), `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`"
            .to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Some(Self::Server(Secret::new(text.to_owned())));
        }
        match text.strip_prefix("sqlite:")? {
            "" => Some(Self::InDataDir),
            path => Some(Self::File(PathBuf::from(path))),
        }
    }
}

/// When journal records reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalSync {
    /// Together, every so often.
    Group,
    /// At once.
    Always,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a process that dies may leave its memory behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoreDumps {
    /// Never.
    Off,
    /// As the machine says, for debugging.
    On,
}

/// The least important lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// What is broken.
    Error,
    /// What needs a look.
    Warn,
    /// Start and stop.
    Info,
    /// What is going on.
    Debug,
    /// Everything.
    Trace,
}

/// Makes an enum a setting: each value by its name, in the order in which faults list them.
macro_rules! choices {
    ($type:ident { $($name:literal => $variant:ident),+ $(,)? }) => {
        impl Setting for $type {
            fn allowed() -> String {
                let names = [$(concat!("`", $name, "`")),+];
                names.join(" or ")
            }

            fn read(text: &str) -> Option<Self> {
                match text {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use choices;

choices!(CoreDumps { "off" => Off, "on" => On });
choices!(LogFormat { "text" => Text, "json" => Json });
choices!(LogLevel { "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug, "trace" => Trace });
choices!(UpstreamProtocol { "http1" => Http1, "http2" => Http2, "auto" => Auto });
choices!(Unregistered { "default-project" => DefaultProject, "reject" => Reject });
choices!(BatchResults { "rewrite" => Rewrite, "leave" => Leave });
choices!(MigrateMode { "auto" => Auto, "check" => Check });
choices!(JournalSync { "group" => Group, "always" => Always });
choices!(JournalFull { "refuse" => Refuse, "drop" => Drop });
