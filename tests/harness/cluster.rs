//! Several proxies and several control planes on one Kafka and one PostgreSQL, all of them real.

use std::net::SocketAddr;

use mindweave_test_servers::{Kafka, Postgres};

use super::apart::{ControlPlane, Gate, Proxy};
use super::ledger::Ledger;

/// Under which secrets are sealed: every control plane on one database must have the same.
const MASTER_KEY: &str = "4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d";

/// All of it. Every part may be killed, stopped, frozen and started again.
pub struct Cluster {
    pub kafka: Kafka,
    pub postgres: Postgres,
    /// The URL of the control planes' database.
    pub database: String,
    /// The way from proxies to control planes.
    pub balancer: Gate,
    pub control_planes: Vec<ControlPlane>,
    pub proxies: Vec<Proxy>,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Starts servers and control planes; [`Self::add_proxy`] starts proxies.
    pub fn start(control_planes: usize) -> Self {
        Self::start_with(control_planes, &[])
    }

    /// The same; every process has these settings as well.
    pub fn start_with(control_planes: usize, settings: &[(&str, &str)]) -> Self {
        let (kafka, postgres) = std::thread::scope(|scope| {
            let postgres = scope.spawn(Postgres::start);
            (Kafka::start(), postgres.join().expect("PostgreSQL starts"))
        });
        let database = postgres.create_database();
        let mut own = vec![("MINDWEAVE_EVENTS__KAFKA__BROKERS".to_owned(), kafka.brokers())];
        own.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let mut cluster = Self {
            kafka,
            postgres,
            database,
            balancer: Gate::start(),
            control_planes: Vec::new(),
            proxies: Vec::new(),
            settings: own,
        };
        for _ in 0..control_planes {
            cluster.add_control_plane();
        }
        cluster
    }

    /// So many control planes that find an empty database, all at once.
    pub fn of_simultaneous_starts(control_planes: usize) -> Self {
        let mut cluster = Self::start(0);
        let started = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..control_planes).map(|_| scope.spawn(|| cluster.start_control_plane())).collect();
            starts.into_iter().map(|start| start.join().expect("it starts")).collect()
        });
        cluster.control_planes = started;
        cluster.balance();
        cluster
    }

    /// One more control plane on the same database, behind the balancer.
    pub fn add_control_plane(&mut self) {
        let control_plane = self.start_control_plane();
        self.control_planes.push(control_plane);
        self.balance();
    }

    fn start_control_plane(&self) -> ControlPlane {
        let mut settings = self.settings();
        settings.extend([
            ("MINDWEAVE_CONTROL_PLANE__DATABASE", self.database.as_str()),
            ("MINDWEAVE_MASTER_KEY", MASTER_KEY),
        ]);
        ControlPlane::start_with(&settings)
    }

    /// One more proxy behind the balancer, ready for traffic.
    pub fn add_proxy(&mut self, upstream: &str) {
        let proxy = Proxy::start_behind(upstream, &self.balancer, &self.settings());
        self.proxies.push(proxy);
    }

    /// Leads new connections to the control planes as they listen now.
    pub fn balance(&self) {
        self.balancer.share_among(self.control_planes.iter().map(|one| one.api).collect());
    }

    /// Starts a control plane again, where the balancer finds it.
    pub fn start_control_plane_again(&mut self, place: usize) {
        self.control_planes[place].start_again();
        self.balance();
    }

    /// The API of one control plane.
    pub fn ledger(&self, place: usize) -> Ledger {
        self.control_planes[place].ledger()
    }

    /// Where the proxies listen now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.proxies.iter().map(|proxy| proxy.addr).collect()
    }

    /// What every process wrote to its log.
    pub fn logs(&self) -> String {
        let control_planes = self.control_planes.iter().map(|one| one.process.log());
        let proxies = self.proxies.iter().map(|one| one.process.log());
        control_planes.chain(proxies).collect::<Vec<_>>().join("\n----\n")
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
}
