//! Where the control plane is, whom to trust there and what to show: as the files say it now.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::RemoteConfig;
use super::certificate::ClientCertificate;
use super::client::ControlPlaneConfigError;
use crate::error::chain;
use crate::upstream::{Target, UpstreamConfig};
use crate::{clock, metrics};

/// How often the files are looked at: three small ones.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The log says that the certificate is about to expire when it has less than this left. Authorities renew a month before the
/// end: whoever has two weeks left was forgotten.
const EXPIRY_WARNING_DAYS: i64 = 14;

/// What leads to the control plane.
#[derive(Clone, Debug)]
pub(super) struct Way {
    url: String,
    extra_ca_file: Option<std::path::PathBuf>,
    certificate: Option<ClientCertificate>,
}

/// Tells whether the files are still those that were read, by their content: copies may keep the times of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Way {
    pub(super) fn of(config: &RemoteConfig) -> Self {
        Self {
            url: config.url.clone(),
            extra_ca_file: config.extra_ca_file.clone(),
            certificate: config.certificate.clone(),
        }
    }

    /// Reads the files. Blocks.
    pub(super) fn load(&self) -> Result<Target, ControlPlaneConfigError> {
        let certificate = self.certificate.as_ref().map(ClientCertificate::load).transpose();
        let certificate = certificate.map_err(ControlPlaneConfigError::Certificate)?;
        let (identity, expiry) = certificate.unzip();
        let config =
            UpstreamConfig { extra_ca_file: self.extra_ca_file.clone(), ..UpstreamConfig::new(&self.url) };
        let target = Target::showing(&config, identity).map_err(ControlPlaneConfigError::Target)?;
        tell_expiry(expiry);
        Ok(target)
    }

    /// What the files hold now. Blocks.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for path in self.files() {
            let content = std::fs::read(path).map(zeroize::Zeroizing::new).ok();
            let length = content.as_ref().map(|content| content.len());
            context.update(format!("{length:?}").as_bytes());
            context.update(content.as_ref().map_or(&[], |content| content.as_slice()));
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref()); // both have the 32 bytes of SHA-256
        Fingerprint(fingerprint)
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let certificate = self.certificate.as_ref().map(|files| [&files.certificate_file, &files.key_file]);
        let certificate = certificate.into_iter().flatten();
        certificate.chain(&self.extra_ca_file).map(std::path::PathBuf::as_path)
    }
}

fn tell_expiry(expires_at: Option<Timestamp>) {
    metrics::control_plane().certificate_expires(expires_at);
    let Some(expires_at) = expires_at else { return };
    let days = expires_at.duration_since(clock::now()).as_hours() / 24;
    if days < EXPIRY_WARNING_DAYS {
        tracing::warn!(%expires_at, days, "this proxy's certificate is about to expire, or has: the control plane will refuse it");
    }
}

/// Keeps the way as the files say it, until `stop`.
///
/// A content that cannot be used is looked at twice before it counts as broken: where two files are replaced one after the
/// other, the first look may see one of them new and one of them old.
pub(super) async fn follow(
    way: Way,
    mut seen: Fingerprint,
    current: Arc<watch::Sender<Arc<Target>>>,
    mut stop: watch::Receiver<bool>,
) {
    if way.files().next().is_none() {
        return;
    }
    let mut doubted = None;
    loop {
        tokio::select! {
            () = sleep(RELOAD_INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let files = way.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let now = files.fingerprint();
            (now != seen).then(|| (now, files.load()))
        });
        let Ok(Some((now, loaded))) = looked.await else { continue };
        match loaded {
            Ok(target) => {
                (seen, doubted) = (now, None);
                current.send_replace(Arc::new(target));
                metrics::control_plane().certificate_reloads.increment(1);
                tracing::info!("certificate files of the way to the control plane reloaded");
            }
            Err(error) if doubted == Some(now) => {
                (seen, doubted) = (now, None);
                metrics::control_plane().certificate_reload_failures.increment(1);
                tracing::error!(
                    error = chain(&error),
                    "new certificate files of the way to the control plane cannot be used, keeping the old"
                );
            }
            Err(_) => doubted = Some(now),
        }
    }
}
