//! The simulated Claude API inside the test's own process.

use std::net::SocketAddr;

use mindweave_simulator::SimulatorConfig;

/// A running simulator. Stops when dropped.
pub struct Simulator {
    /// Where it listens.
    pub addr: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _server: mindweave_simulator::Simulator,
}

impl Simulator {
    /// Starts it with default settings on a free port.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let config =
            SimulatorConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..SimulatorConfig::default() };
        let server =
            runtime.block_on(mindweave_simulator::Simulator::start(config)).expect("the simulator starts");
        Self { addr: server.local_addr(), _server: server, _runtime: runtime }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}
