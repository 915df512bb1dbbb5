//! The table of settings: the only place that knows a key's name, type, default and meaning.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use mindweave_control_plane::{MigrateMode, Registration, Sender};
use mindweave_proxy::{BatchResults, JournalFull, Unregistered, UpstreamProtocol};

use super::command_line::CommandLine;
use super::fault::Fault;
use super::kafka::{Brokers, HiddenText, KafkaCompression, KafkaMechanism, KafkaSecurity, KafkaTopics};
use super::networks::Networks;
use super::origins::Origins;
use super::setting::{BaseUrl, ByteSize, CoreDumps, Database, JournalSync, LogFormat, LogLevel, Setting};
use super::{Given, Values};

/// What documentation and messages need of a setting.
pub(crate) struct Key {
    /// Dotted, as in the file.
    pub(crate) name: &'static str,
    /// As it would be written; empty for a setting that is off unless given.
    pub(crate) default: &'static str,
    /// One or two sentences in Markdown.
    pub(crate) meaning: &'static str,
    /// What its type allows.
    pub(crate) allowed: fn() -> String,
}

/// Makes [`Config`], its reader and [`KEYS`] out of one list. The doc comment of a field is the key's documentation.
macro_rules! settings {
    ($($(#[doc = $meaning:literal])+ $field:ident: $type:ty = $name:literal or $default:literal;)+) => {
        /// Every setting, valid by itself and with the others.
        #[derive(Clone, Debug)]
        #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "some are read by clients of Kafka alone"))]
        pub(crate) struct Config {
            $($(#[doc = $meaning])+ pub(crate) $field: $type,)+
        }

        /// Every setting, in the order of the documentation.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            name: $name,
            default: $default,
            meaning: concat!($($meaning),+),
            allowed: <$type as Setting>::allowed,
        }),+];

        impl Config {
            /// Reads every setting. `None` after at least one fault.
            pub(super) fn build(values: &Values, faults: &mut Vec<Fault>) -> Option<Self> {
                $(let $field = read::<$type>(values.get($name), $name, $default, faults);)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}

settings! {
    /// Folder of the ledger, the journal and the generated secrets. Made if missing, open to its owner only.
    data_dir: PathBuf = "data_dir" or "./mindweave-data";

    /// Where apps send their Claude traffic.
    proxy_listen: SocketAddr = "proxy.listen" or "127.0.0.1:8000";
    /// Where `/health/live`, `/health/ready` and `/metrics` are served; never on the traffic port.
    proxy_admin_listen: SocketAddr = "proxy.admin_listen" or "127.0.0.1:9090";
    /// The Claude API.
    proxy_upstream: BaseUrl = "proxy.upstream" or "https://api.anthropic.com";
    /// The protocol spoken upstream. `http1` costs least; `auto` takes what TLS negotiates, and HTTP/1.1 without TLS.
    proxy_upstream_protocol: UpstreamProtocol = "proxy.upstream_protocol" or "http1";
    /// PEM file of certificate authorities to trust upstream beside the machine's own.
    proxy_upstream_ca_file: Option<PathBuf> = "proxy.upstream_ca_file" or "";
    /// What happens to a credential that no project knows: its usage goes to the default project, or it is refused (401). Unless set, `default-project` with `mindweave serve` and `reject` with `mindweave proxy`.
    proxy_unregistered: Option<Unregistered> = "proxy.unregistered" or "";
    /// The control plane of `mindweave proxy`, which cannot do without one. Use `https` unless it is on the same machine: Claude keys come from there.
    proxy_control_plane: Option<BaseUrl> = "proxy.control_plane" or "";
    /// PEM file of certificate authorities to trust in front of the control plane beside the machine's own. Read again when it changes.
    proxy_control_plane_ca_file: Option<PathBuf> = "proxy.control_plane_ca_file" or "";
    /// PEM file of the certificate chain to show to the control plane, where that wants one. Read again when it changes.
    proxy_control_plane_cert_file: Option<PathBuf> = "proxy.control_plane_cert_file" or "";
    /// PEM file of that certificate's private key.
    proxy_control_plane_key_file: Option<PathBuf> = "proxy.control_plane_key_file" or "";
    /// Load balancers in front of the proxy whose `x-forwarded-for` says who the client is, for policies that decide by address. Everybody else's is not believed.
    proxy_trusted_proxies: Networks = "proxy.trusted_proxies" or "";
    /// The URL by which clients reach the proxy, for `results_url` in batch objects. Without it, each request's own `Host` is used.
    proxy_public_url: Option<BaseUrl> = "proxy.public_url" or "";
    /// Whether `results_url` in batch objects is pointed at the proxy, so that batch usage is metered, or left as the API sent it.
    proxy_batch_results: BatchResults = "proxy.batch_results" or "rewrite";
    /// PEM file of the certificate chain to serve TLS with. Read again when it changes.
    proxy_tls_cert_file: Option<PathBuf> = "proxy.tls.cert_file" or "";
    /// PEM file of that certificate's private key.
    proxy_tls_key_file: Option<PathBuf> = "proxy.tls.key_file" or "";

    /// Largest body for most endpoints, the API's own limit; larger ones get 413.
    proxy_limits_message_bytes: ByteSize = "proxy.limits.message_bytes" or "32MiB";
    /// Largest body of a batch.
    proxy_limits_batch_bytes: ByteSize = "proxy.limits.batch_bytes" or "256MiB";
    /// Largest body of a file upload.
    proxy_limits_file_bytes: ByteSize = "proxy.limits.file_bytes" or "500MiB";
    /// The memory that all request bodies together may take while policies, limits or budgets decide by their content. Taken as bodies arrive, so a small machine needs a lower ceiling only for many or large uploads at once. What finds no room is refused (529).
    proxy_limits_held_bytes: ByteSize = "proxy.limits.held_bytes" or "512MiB";
    /// Client connections open at once; more wait to be accepted.
    proxy_limits_max_connections: NonZeroUsize = "proxy.limits.max_connections" or "16384";
    /// How long a client may take to send a request's head, TLS handshake included.
    proxy_limits_header_read_timeout: Duration = "proxy.limits.header_read_timeout" or "30s";

    /// How long connecting upstream may take, TLS included.
    proxy_deadlines_connect: Duration = "proxy.deadlines.connect" or "5s";
    /// How long the API may stay silent before the head of its answer. SDKs wait 600 s: their timeout comes first.
    proxy_deadlines_response: Duration = "proxy.deadlines.response" or "610s";
    /// How long the API may stay silent within an answer. Longer than clients wait, so that they decide.
    proxy_deadlines_idle: Duration = "proxy.deadlines.idle" or "15m";
    /// How long open answers may run on after SIGTERM before they are cut. As long as clients wait; a second signal ends at once.
    proxy_deadlines_drain: Duration = "proxy.deadlines.drain" or "10m";

    /// Failures to reach the API within the window that open the circuit breaker.
    proxy_breaker_failures: NonZeroUsize = "proxy.breaker.failures" or "5";
    /// The window in which failures are counted.
    proxy_breaker_window: Duration = "proxy.breaker.window" or "30s";
    /// How long the open breaker refuses (529 with `retry-after`) before it lets trial requests through.
    proxy_breaker_open_for: Duration = "proxy.breaker.open_for" or "30s";
    /// Trial requests let through at a time then; one success closes the breaker.
    proxy_breaker_trials: NonZeroUsize = "proxy.breaker.trials" or "3";

    /// Where the API for projects, keys and usage is served.
    control_plane_listen: SocketAddr = "control_plane.listen" or "127.0.0.1:3000";
    /// Where `mindweave control-plane` serves `/health/live`, `/health/ready` and `/metrics`. With `serve` they are at `proxy.admin_listen`.
    control_plane_admin_listen: SocketAddr = "control_plane.admin_listen" or "127.0.0.1:9091";
    /// The ledger.
    control_plane_database: Database = "control_plane.database" or "sqlite:";
    /// Connections of a control plane to its PostgreSQL server, at least 4. One more tells who leads.
    control_plane_database_connections: NonZeroUsize = "control_plane.database_connections" or "16";
    /// What a start does about the database's schema: bring it up to date, or refuse one that is not.
    control_plane_migrate: MigrateMode = "control_plane.migrate" or "auto";
    /// Load balancers in front of the API whose `x-forwarded-for` says who the client is, for the audit log and for rate limits. Everybody else's is not believed.
    control_plane_trusted_proxies: Networks = "control_plane.trusted_proxies" or "";
    /// Origins whose pages may call the API from a browser (CORS). Without it, none but the server's own.
    control_plane_cors_origins: Origins = "control_plane.cors_origins" or "";
    /// File with the master key, in place of the one in the data folder: 64 hexadecimal digits, or base64 of 32 bytes. Everything that is sealed in the database is sealed with it.
    control_plane_master_key_file: Option<PathBuf> = "control_plane.master_key_file" or "";
    /// Program that prints the master key, as a client of a key management service does. Has 30 seconds; what it says on stderr goes to the log.
    control_plane_master_key_command: Option<CommandLine> = "control_plane.master_key_command" or "";
    /// File with master keys of before, one a line: they open what was sealed with them, until `mindweave secrets rotate` has sealed it anew.
    control_plane_master_key_previous_file: Option<PathBuf> = "control_plane.master_key_previous_file" or "";
    /// Program that prints such keys.
    control_plane_master_key_previous_command: Option<CommandLine> = "control_plane.master_key_previous_command" or "";
    /// Requests per second that one caller (a person, a service account, the admin token) may make, on average over ten seconds. Each control plane counts for itself.
    control_plane_rate_limits_caller: NonZeroU32 = "control_plane.rate_limits.caller" or "300";
    /// The same for one address, without a valid token.
    control_plane_rate_limits_address: NonZeroU32 = "control_plane.rate_limits.address" or "100";
    /// PEM file of the certificate chain to serve the API with, over TLS. Read again when it changes.
    control_plane_tls_cert_file: Option<PathBuf> = "control_plane.tls.cert_file" or "";
    /// PEM file of that certificate's private key.
    control_plane_tls_key_file: Option<PathBuf> = "control_plane.tls.key_file" or "";
    /// PEM file of the authorities that vouch for proxies. With it, proxies need a certificate of theirs beside their token; people's clients still need a token only. Read again when it changes.
    control_plane_tls_client_ca_file: Option<PathBuf> = "control_plane.tls.client_ca_file" or "";

    /// The URL by which people reach the API: for links in mails, sign-on and passkeys. Without it, where the API listens, which is right on one machine only.
    identity_public_url: Option<BaseUrl> = "identity.public_url" or "";
    /// Who may make an account with a password: everybody who reaches the API, whoever was invited, or nobody, where people come by sign-on.
    identity_registration: Registration = "identity.registration" or "invitation";
    /// How long an access token is good. Ending a session ends it at once.
    identity_access_token_lifetime: Duration = "identity.access_token_lifetime" or "15m";
    /// How long a session lasts without being used: as long as its refresh token, which each refresh replaces.
    identity_refresh_token_lifetime: Duration = "identity.refresh_token_lifetime" or "720h";
    /// How long a session lasts at most. Then people sign in again.
    identity_session_lifetime: Duration = "identity.session_lifetime" or "2160h";
    /// Memory that hashing a password takes (argon2id), and as many times that as the machine has processors, at most 8 times. Hashes are renewed at the next sign-in after a change.
    identity_password_memory: ByteSize = "identity.password.memory" or "19MiB";
    /// Passes over that memory: each takes its time.
    identity_password_passes: NonZeroU16 = "identity.password.passes" or "2";

    /// The mail server: `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://..` with STARTTLS. `smtp://HOST:PORT?tls=none` sends in the clear, for a relay next door. Without it no mails are sent. Better in the environment than in the configuration file.
    mail_smtp_url: Option<HiddenText> = "mail.smtp_url" or "";
    /// Whom mails come from.
    mail_from: Option<Sender> = "mail.from" or "";
    /// PEM file of certificate authorities to trust in front of the mail server beside the machine's own.
    mail_ca_file: Option<PathBuf> = "mail.ca_file" or "";

    /// How long a proxy may hear nothing of the ledger before its figures of budgets count as old. What happens then is each budget's own `on_stale`.
    governance_stale_after: Duration = "governance.stale_after" or "30s";

    /// Brokers of the Kafka that carries events from proxies to control planes. Without it they go there directly.
    events_kafka_brokers: Option<Brokers> = "events.kafka.brokers" or "";
    /// What protects the way to the brokers: TLS, a login, both or nothing.
    events_kafka_security: KafkaSecurity = "events.kafka.security" or "plaintext";
    /// PEM file of the certificate authorities to trust with TLS, in place of the machine's own. This file and the next two are read again when brokers refuse a connection for them.
    events_kafka_ca_file: Option<PathBuf> = "events.kafka.ca_file" or "";
    /// PEM file of the certificate chain that this client shows, where brokers ask for one.
    events_kafka_cert_file: Option<PathBuf> = "events.kafka.cert_file" or "";
    /// PEM file of that certificate's private key.
    events_kafka_key_file: Option<PathBuf> = "events.kafka.key_file" or "";
    /// How the login is proved. With `PLAIN` the password itself travels: only with TLS.
    events_kafka_sasl_mechanism: KafkaMechanism = "events.kafka.sasl_mechanism" or "SCRAM-SHA-512";
    /// Who logs in.
    events_kafka_sasl_username: Option<String> = "events.kafka.sasl_username" or "";
    /// The password of the login. Better in the environment than in the configuration file.
    events_kafka_sasl_password: Option<HiddenText> = "events.kafka.sasl_password" or "";
    /// File that holds the password in place of `sasl_password`, as mounted secrets do. Read again when a login fails.
    events_kafka_sasl_password_file: Option<PathBuf> = "events.kafka.sasl_password_file" or "";
    /// How events are compressed on their way and on the brokers' disks.
    events_kafka_compression: KafkaCompression = "events.kafka.compression" or "lz4";
    /// Whether missing topics are created at the start, or only looked for.
    events_kafka_topics: KafkaTopics = "events.kafka.topics" or "create";
    /// Partitions of topics that are created: as many control planes can share the work.
    events_kafka_partitions: NonZeroU16 = "events.kafka.partitions" or "12";
    /// Replicas of topics that are created. Unless set, 3, or as many as there are brokers.
    events_kafka_replication: Option<NonZeroU16> = "events.kafka.replication" or "";

    /// Size of one journal file.
    journal_segment_bytes: ByteSize = "journal.segment_bytes" or "64MiB";
    /// The most disk the journal takes while the ledger cannot follow.
    journal_max_bytes: ByteSize = "journal.max_bytes" or "4GiB";
    /// When records reach the disk. All survive the death of the process, and with `group` those older than `sync_every` a power cut. `always` has each request on disk before it is forwarded; a power cut can then only turn the last finished ones into `interrupted` events.
    journal_sync: JournalSync = "journal.sync" or "group";
    /// Time between two writes to disk with `group`.
    journal_sync_every: Duration = "journal.sync_every" or "50ms";
    /// What a full journal does to new requests: `refuse` them, or forward them unmetered and `drop` their events, counted.
    journal_full: JournalFull = "journal.full" or "refuse";

    /// Whether a server that dies may leave its memory behind, with every key and token in it, and whether debuggers of the same user may look into it.
    process_core_dumps: CoreDumps = "process.core_dumps" or "off";

    /// How log lines look; they go to stderr.
    log_format: LogFormat = "log.format" or "text";
    /// The least important log lines that are written.
    log_level: LogLevel = "log.level" or "info";
}

/// The value of one setting, or `None` and a fault.
fn read<T: Setting>(
    given: Option<&Given>,
    name: &'static str,
    default: &str,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let Some(given) = given else {
        return if default.is_empty() { T::absent() } else { T::read(default) };
    };
    let value = given.value.as_ref().ok().and_then(|text| T::read(text));
    if value.is_none() {
        faults.push(Fault::value(name, &given.value, &T::allowed(), given.place.clone()));
    }
    value
}
