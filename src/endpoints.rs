//! `endpoints.json` in the data folder: where the running server listens. It is there while the server is ready, so
//! commands on the same machine, scripts and tests find the server without flags, also when it took free ports.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data_dir::write_private;

const FILE: &str = "endpoints.json";

/// The addresses a server bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    /// The server's process id.
    pub(crate) pid: u32,
    /// Where apps send their traffic; `mindweave control-plane` has no such place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<SocketAddr>,
    /// Health and metrics.
    pub(crate) admin: SocketAddr,
    /// The API; `mindweave proxy` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) control_plane: Option<SocketAddr>,
}

impl Endpoints {
    /// What a server wrote into this folder, if it is running or was killed.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(data_dir.join(FILE)).ok()?).ok()
    }

    /// Announces the server, until the value returned is dropped.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn announce(&self, data_dir: &Path) -> io::Result<Announcement> {
        let path = data_dir.join(FILE);
        write_private(&path, &serde_json::to_string(self).map_err(io::Error::other)?)?;
        Ok(Announcement { path })
    }
}

/// Takes the file away when the server ends.
#[derive(Debug)]
pub(crate) struct Announcement {
    path: PathBuf,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "cannot remove the list of endpoints");
        }
    }
}

/// The URL by which a program on this machine reaches an address: "any interface" is not one that can be called.
pub(crate) fn local_url(scheme: &str, addr: SocketAddr) -> String {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_while_the_announcement_lives() {
        let folder = tempfile::tempdir().unwrap();
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for (proxy, control_plane) in
            [(Some(addr(1)), Some(addr(3))), (Some(addr(1)), None), (None, Some(addr(3)))]
        {
            let endpoints = Endpoints { pid: 7, proxy, admin: addr(2), control_plane };
            let announcement = endpoints.announce(folder.path()).unwrap();
            assert_eq!(Endpoints::read(folder.path()), Some(endpoints));
            drop(announcement);
            assert_eq!(Endpoints::read(folder.path()), None);
        }
    }

    #[test]
    fn an_address_of_every_interface_becomes_one_that_can_be_called() {
        assert_eq!(local_url("http", "0.0.0.0:8000".parse().unwrap()), "http://127.0.0.1:8000");
        assert_eq!(local_url("https", "[::]:8000".parse().unwrap()), "https://[::1]:8000");
        assert_eq!(local_url("http", "10.1.2.3:80".parse().unwrap()), "http://10.1.2.3:80");
    }
}
