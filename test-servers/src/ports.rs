//! Ports that stay free while their server is down.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which Linux takes ports for port 0 and for outgoing connections (32768 and up, unless changed):
/// nothing takes a port away between a kill and the next start.
const RANGE: Range<u16> = 18_000..32_000;

/// One port of 127.0.0.1, held against other test processes for as long as the value lives.
pub(crate) struct Port {
    number: u16,
    /// An abstract socket's name belongs to one process at a time, and the kernel frees it when that process ends.
    _claim: UnixListener,
}

impl Port {
    /// Claims a port that nobody listens on.
    ///
    /// # Panics
    /// When every port of the range is taken.
    pub(crate) fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes begin at different places, so that they do not all try the same ports first.
        let begin =
            u16::try_from(std::process::id() * 7 % u32::from(RANGE.end - RANGE.start)).unwrap_or_default();
        for _ in RANGE {
            let offset = (u32::from(begin) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed)))
                % u32::from(RANGE.end - RANGE.start);
            let number = RANGE.start + u16::try_from(offset).unwrap_or_default();
            let name = SocketAddr::from_abstract_name(format!("mindweave-test-port-{number}"))
                .expect("a short name");
            if let Ok(claim) = UnixListener::bind_addr(&name)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
