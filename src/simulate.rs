//! `mindweave simulate`: a Claude API that costs nothing.

use std::io::Write;

use anyhow::Context;
use mindweave_simulator::{Simulator, SimulatorConfig, TlsFiles};

use crate::cli::Simulate;
use crate::signals::StopSignals;

/// Simulates until a signal asks for the end.
///
/// # Errors
/// When it cannot start.
pub(crate) fn run(options: Simulate, out: &mut impl Write) -> anyhow::Result<()> {
    let scheme = if options.tls_cert.is_some() { "https" } else { "http" };
    let config = SimulatorConfig {
        listen: options.listen,
        seed: options.seed,
        defaults: options.defaults,
        tls: options.tls_cert.zip(options.tls_key).map(|(certificates, key)| TlsFiles { certificates, key }),
        ..SimulatorConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let signals = StopSignals::listen().context("cannot take over SIGTERM and SIGINT")?;
        let simulator = Simulator::start(config).await?;
        let addr = simulator.local_addr();
        writeln!(out, "A simulated Claude API listens on {scheme}://{addr}; any key will do.")?;
        writeln!(out)?;
        writeln!(out, "  export ANTHROPIC_BASE_URL={scheme}://{addr}             # call it directly")?;
        writeln!(out, "  MINDWEAVE_PROXY__UPSTREAM={scheme}://{addr} mindweave   # or through MindWeave")?;
        writeln!(out)?;
        out.flush()?;
        signals.first().await;
        simulator.shutdown().await;
        Ok(())
    })
}
