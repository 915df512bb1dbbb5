//! The engines that a ledger can be on, each fresh.

use std::net::SocketAddr;

use anyhow::Context;
use mindweave_control_plane::{ControlPlane, ControlPlaneConfig, Database, MasterKey};
use mindweave_policy::Secret;
use mindweave_test_servers::{Postgres, timescale};
use tempfile::TempDir;

/// The admin token of the control planes under test.
pub(super) const ADMIN_TOKEN: &str = "admin-token-of-the-bench";

/// An empty ledger.
pub(super) struct Ledger {
    /// For the table.
    pub(super) name: &'static str,
    database: Database,
    /// URL, server: on PostgreSQL.
    pub(super) server: Option<(String, Postgres)>,
    _folder: TempDir,
}

/// Makes an empty ledger.
pub(super) type Make = fn() -> anyhow::Result<Ledger>;

impl Ledger {
    /// One on each engine that this machine has.
    pub(super) fn all() -> Vec<Make> {
        let mut all: Vec<Make> = vec![Self::sqlite, Self::postgres];
        if timescale().is_some() {
            all.push(Self::timescale);
        }
        all
    }

    fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = Database::Sqlite(folder.path().join("ledger.sqlite"));
        Ok(Self { name: "SQLite", database, server: None, _folder: folder })
    }

    /// PostgreSQL without TimescaleDB.
    pub(super) fn postgres() -> anyhow::Result<Self> {
        Self::on_server("PostgreSQL", |server| server.create_database())
    }

    fn timescale() -> anyhow::Result<Self> {
        Self::on_server("TimescaleDB", |server| server.create_timescale_database())
    }

    fn on_server(name: &'static str, create: fn(&Postgres) -> String) -> anyhow::Result<Self> {
        let server = Postgres::start();
        let url = create(&server);
        let database = Database::Postgres(Secret::new(url.clone()));
        Ok(Self { name, database, server: Some((url, server)), _folder: tempfile::tempdir()? })
    }

    /// A control plane on it.
    pub(super) async fn control_plane(&self) -> anyhow::Result<ControlPlane> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let master_key = MasterKey::from_text(&"4d".repeat(32)).context("a master key")?;
        let token = Secret::new(ADMIN_TOKEN.to_owned());
        let config = ControlPlaneConfig::new(listen, self.database.clone(), token, master_key);
        Ok(ControlPlane::start(config).await?)
    }
}
