//! `mindweave proxy`: traffic only, for a control plane in another process.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use mindweave_policy::{Snapshot, SnapshotStore};
use mindweave_proxy::{JournalFull, Known, RemoteConfig, RemoteControlPlane};

use crate::config::{BaseUrl, Config, Environment, Role};
use crate::data_dir::DataDir;
use crate::data_plane::{DataPlane, Opened};
use crate::endpoints::{Announcement, Endpoints, local_url};
use crate::kafka::way_of_events;
use crate::secrets;
use crate::startup;
use crate::wiring;

/// Serves until a signal asks for the end.
///
/// # Errors
/// When a part cannot start, or the end is not an orderly one.
pub(crate) fn run(config: &Config, environment: &Environment, out: &mut impl Write) -> anyhow::Result<()> {
    let url = config.proxy_control_plane.as_ref().context(
        "proxy.control_plane is not set: a proxy needs the URL of its control plane (or run `mindweave serve`, which is its own)",
    )?;
    startup::run(config, async |signals| {
        let server = ProxyServer::start(config, url, environment).await?;
        let proxy = local_url(
            if config.proxy_tls_cert_file.is_some() { "https" } else { "http" },
            server.data_plane.proxy().local_addr(),
        );
        startup::tell(out, |out| {
            writeln!(out, "MindWeave {} serves {proxy} for {}", env!("CARGO_PKG_VERSION"), url.as_str())?;
            out.flush()
        });
        let healthy = tokio::select! {
            signal = signals.first() => {
                tracing::info!(signal, "stopping: open answers may finish");
                true
            }
            () = server.data_plane.journal_failed(), if config.journal_full == JournalFull::Refuse => false,
        };
        server.stop().await?;
        ensure!(healthy, "the journal failed, and no request may pass unrecorded; the log says why");
        Ok(())
    })
}

/// A running proxy.
struct ProxyServer {
    data_plane: DataPlane,
    control_plane: RemoteControlPlane,
    // The last two go in this order: the announcement lies in the folder, and the folder's lock ends last.
    announcement: Announcement,
    _data_dir: DataDir,
}

impl ProxyServer {
    /// Starts everything in order: the journal; what the control plane says, or said last; the proxy.
    async fn start(config: &Config, url: &BaseUrl, environment: &Environment) -> anyhow::Result<Self> {
        let data_dir = startup::take_data_dir(config)?;
        let token = secrets::of_proxy(&data_dir, environment)?;
        if in_the_clear(url) {
            tracing::warn!(
                control_plane = url.as_str(),
                "keys travel in the clear from a control plane on another machine: use https"
            );
        }
        let opened = Opened::open(config)?;
        opened.admission.expect_feed(config.governance_stale_after);
        let remote = RemoteConfig {
            url: url.as_str().to_owned(),
            token,
            extra_ca_file: config.proxy_control_plane_ca_file.clone(),
            certificate: wiring::control_plane_certificate(config),
            folder: data_dir.path().to_path_buf(),
        };
        let snapshots = Arc::new(SnapshotStore::new(Snapshot::default()));
        let (journal, admission) = (opened.journal.clone(), Arc::clone(&opened.admission));
        let control_plane = RemoteControlPlane::start(&remote, journal, Arc::clone(&snapshots), admission)
            .context("proxy.control_plane cannot be used")?;
        let known = control_plane.await_first_word().await;
        if known == Known::Nothing {
            tracing::error!(
                control_plane = url.as_str(),
                "the control plane does not answer and nothing is cached: refusing all requests until it does"
            );
        }
        let sink = way_of_events(config, control_plane.event_sink())?;
        let data_plane = DataPlane::start(config, Role::Proxy, opened, snapshots, sink).await?;
        let endpoints = Endpoints {
            pid: std::process::id(),
            proxy: Some(data_plane.proxy().local_addr()),
            admin: data_plane.proxy().admin_addr(),
            control_plane: None,
        };
        let announcement =
            endpoints.announce(&config.data_dir).context("cannot write into the data folder")?;
        tracing::info!(
            proxy = %data_plane.proxy().local_addr(),
            admin = %endpoints.admin,
            control_plane = url.as_str(),
            upstream = config.proxy_upstream.as_str(),
            ?known,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        Ok(Self { data_plane, control_plane, announcement, _data_dir: data_dir })
    }

    /// Stops traffic, delivers what can be delivered, and keeps the rest for the next start.
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.announcement);
        let stopped = self.data_plane.stop().await;
        self.control_plane.shutdown().await;
        stopped?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Whether secrets would travel unencrypted over a network.
pub(crate) fn in_the_clear(url: &BaseUrl) -> bool {
    let Some((host, _)) = url.host_and_port() else { return false };
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !url.is_tls() && !here
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    #[test]
    fn plain_http_is_fine_on_this_machine_only() {
        for (url, clear) in [
            ("http://127.0.0.1:3000", false),
            ("http://[::1]:3000", false),
            ("http://localhost:3000", false),
            ("https://control.internal", false),
            ("http://control.internal:3000", true),
            ("http://10.0.0.7:3000", true),
        ] {
            assert_eq!(in_the_clear(&BaseUrl::read(url).unwrap()), clear, "{url}");
        }
    }
}
