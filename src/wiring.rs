//! From the configuration's words to the parts' own settings.

use std::time::Duration;

use anyhow::Context;
use mindweave_control_plane::{
    ControlPlaneConfig, DatabaseOptions, EventIntake, HttpSettings, IdentitySettings, MailSettings,
    PasswordParameters, RateLimits, SmtpUrl, TlsConfig as ControlPlaneTls,
};
use mindweave_eventlog::{JournalConfig, SyncPolicy};
use mindweave_policy::PolicyCompiler;
use mindweave_proxy::{
    BodyLimits, BreakerConfig, ClientCertificate, ProxyConfig, ServerConfig, TlsConfig, Unregistered,
    UpstreamConfig,
};

use crate::config::{Config, JournalSync, Role};
use crate::kafka::audit_topic;
use crate::secrets::ControlPlaneSecrets;

/// A connection that moves no byte is given up this long after the upstream's own deadlines, so that their errors reach the
/// client first.
const STALL_MARGIN: Duration = Duration::from_secs(60);

/// The command that checks policies: see [`crate::policy`].
const CHECK_POLICIES: [&str; 2] = ["policy", "compile-worker"];

/// The journal's settings.
pub(crate) fn journal(config: &Config) -> JournalConfig {
    JournalConfig {
        segment_bytes: config.journal_segment_bytes.0,
        max_bytes: config.journal_max_bytes.0,
        sync: match config.journal_sync {
            JournalSync::Group => SyncPolicy::Group { every: config.journal_sync_every },
            JournalSync::Always => SyncPolicy::Always,
        },
        ..JournalConfig::new(config.journal_dir())
    }
}

/// Size of a file of the intake's journal: an hour of a busy batch job. Two of them are always there.
const INTAKE_SEGMENT_BYTES: u64 = 8 << 20;

/// The settings of the journal for events of other producers: the same but for its size on an idle machine.
pub(crate) fn intake_journal(config: &Config) -> JournalConfig {
    let settings = journal(config);
    JournalConfig {
        dir: config.intake_journal_dir(),
        segment_bytes: settings.segment_bytes.min(INTAKE_SEGMENT_BYTES),
        label: Some("events"),
        ..settings
    }
}

/// The control plane's settings.
///
/// # Errors
/// When the way to this program, which checks policies in a process of its own, is not known.
pub(crate) fn control_plane(
    config: &Config,
    secrets: ControlPlaneSecrets,
    events: EventIntake,
) -> anyhow::Result<ControlPlaneConfig> {
    let ControlPlaneSecrets { admin_token, master_key, proxy_token } = secrets;
    let program =
        std::env::current_exe().context("the way to this program, which checks policies, is not known")?;
    let arguments = CHECK_POLICIES.into_iter().map(Into::into).collect();
    Ok(ControlPlaneConfig {
        proxy_token,
        events: Some(events),
        audit_topic: audit_topic(config),
        metrics: Some(mindweave_proxy::render_process_metrics),
        tls: control_plane_tls(config),
        http: http(config),
        identity: identity(config),
        database_options: DatabaseOptions {
            migrate: config.control_plane_migrate,
            connections: config.control_plane_database_connections(),
        },
        policy_compiler: PolicyCompiler::child(program, arguments),
        ..ControlPlaneConfig::new(config.control_plane_listen, config.ledger(), admin_token, master_key)
    })
}

/// What is set of identity and mails. The address of the mail server was read once, when the settings were.
fn identity(config: &Config) -> IdentitySettings {
    let smtp_url = config.mail_smtp_url.as_ref().and_then(|url| SmtpUrl::parse(url.expose()).ok());
    let mail = smtp_url.zip(config.mail_from.clone());
    IdentitySettings {
        public_url: config.identity_public_url.as_ref().map(|url| url.as_str().to_owned()),
        registration: config.identity_registration,
        access_lifetime: config.identity_access_token_lifetime,
        refresh_lifetime: config.identity_refresh_token_lifetime,
        session_lifetime: config.identity_session_lifetime,
        password_parameters: PasswordParameters {
            memory_kib: u32::try_from(config.identity_password_memory.0 >> 10).unwrap_or(u32::MAX),
            passes: config.identity_password_passes.get().into(),
            ..PasswordParameters::default()
        },
        mail: mail.map(|(smtp_url, from)| MailSettings {
            smtp_url,
            from,
            ca_file: config.mail_ca_file.clone(),
        }),
    }
}

fn http(config: &Config) -> HttpSettings {
    HttpSettings {
        trusted_proxies: config.control_plane_trusted_proxies.0.clone(),
        cors_origins: config.control_plane_cors_origins.0.clone(),
        rate_limits: RateLimits {
            caller: config.control_plane_rate_limits_caller,
            address: config.control_plane_rate_limits_address,
        },
    }
}

fn control_plane_tls(config: &Config) -> Option<ControlPlaneTls> {
    let (certificate, key) =
        config.control_plane_tls_cert_file.as_ref().zip(config.control_plane_tls_key_file.as_ref())?;
    let client_ca_file = config.control_plane_tls_client_ca_file.clone();
    Some(ControlPlaneTls { client_ca_file, ..ControlPlaneTls::new(certificate, key) })
}

/// What a proxy shows to its control plane.
pub(crate) fn control_plane_certificate(config: &Config) -> Option<ClientCertificate> {
    let files =
        config.proxy_control_plane_cert_file.as_ref().zip(config.proxy_control_plane_key_file.as_ref());
    let (certificate, key) = files?;
    Some(ClientCertificate { certificate_file: certificate.clone(), key_file: key.clone() })
}

/// The proxy's settings.
pub(crate) fn proxy(config: &Config, role: Role) -> ProxyConfig {
    ProxyConfig {
        server: server(config),
        admin_listen: config.proxy_admin_listen,
        upstream: upstream(config),
        drain_limit: config.proxy_deadlines_drain,
        unregistered: config.proxy_unregistered.unwrap_or(match role {
            Role::Serve => Unregistered::DefaultProject,
            Role::Proxy | Role::ControlPlane => Unregistered::Reject,
        }),
        trusted_proxies: config.proxy_trusted_proxies.0.clone(),
        body_limits: BodyLimits {
            messages: config.proxy_limits_message_bytes.0,
            batches: config.proxy_limits_batch_bytes.0,
            files: config.proxy_limits_file_bytes.0,
            held: config.proxy_limits_held_bytes.0,
        },
        journal_full: config.journal_full,
        batch_results: config.proxy_batch_results,
        public_url: config.proxy_public_url.as_ref().map(|url| url.as_str().to_owned()),
    }
}

fn server(config: &Config) -> ServerConfig {
    let files = config.proxy_tls_cert_file.as_ref().zip(config.proxy_tls_key_file.as_ref());
    let silence = config.proxy_deadlines_response.max(config.proxy_deadlines_idle);
    ServerConfig {
        tls: files.map(|(certificate, key)| TlsConfig::new(certificate, key)),
        max_connections: config.proxy_limits_max_connections.get(),
        header_timeout: config.proxy_limits_header_read_timeout,
        stall_timeout: silence.saturating_add(STALL_MARGIN),
        ..ServerConfig::new(config.proxy_listen)
    }
}

fn upstream(config: &Config) -> UpstreamConfig {
    UpstreamConfig {
        protocol: config.proxy_upstream_protocol,
        extra_ca_file: config.proxy_upstream_ca_file.clone(),
        connect_timeout: config.proxy_deadlines_connect,
        response_timeout: config.proxy_deadlines_response,
        body_idle_timeout: config.proxy_deadlines_idle,
        breaker: BreakerConfig {
            failures: config.proxy_breaker_failures.get(),
            window: config.proxy_breaker_window,
            open_for: config.proxy_breaker_open_for,
            trials: config.proxy_breaker_trials.get(),
        },
        ..UpstreamConfig::new(config.proxy_upstream.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    /// Each default is written twice: for people in the table of settings, and where it works with its reason.
    #[test]
    fn the_documented_defaults_are_the_parts_own() {
        let config = Config::load(None, &Environment::default()).unwrap();
        let (ours, own) = (proxy(&config, Role::Proxy), ProxyConfig::new(mindweave_proxy::CLAUDE_API));
        assert_eq!((ours.server, ours.upstream), (own.server, own.upstream));
        assert_eq!((ours.admin_listen, ours.drain_limit), (own.admin_listen, own.drain_limit));
        assert_eq!((ours.body_limits, ours.journal_full), (own.body_limits, own.journal_full));
        assert_eq!((ours.batch_results, ours.public_url), (own.batch_results, own.public_url));
        assert_eq!((ours.unregistered, ours.trusted_proxies), (own.unregistered, own.trusted_proxies));
        assert_eq!(http(&config), HttpSettings::default());
        assert_eq!(proxy(&config, Role::Serve).unregistered, Unregistered::DefaultProject);
        let (ours, own) = (journal(&config), JournalConfig::new(config.journal_dir()));
        assert_eq!(
            (ours.segment_bytes, ours.max_bytes, ours.sync),
            (own.segment_bytes, own.max_bytes, own.sync)
        );
    }
}
