//! The API over a real socket.

mod accounts;
mod api_quality;
mod api_tokens;
mod audit;
mod foreign_streams;
mod foreign_tenants;
mod governance_budgets;
mod governance_decisions;
mod governance_limits;
mod governance_policies;
mod governance_replay;
mod idempotency;
mod identity;
mod identity_mail;
mod identity_rotation;
mod invitations;
mod keys;
mod members;
mod orgs;
mod passkeys;
mod people;
mod privacy;
mod project_settings;
mod refusals;
mod replicas;
mod second_factors;
mod sign_on_factors;
mod tenancy;
mod usage;
mod watch;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};

use super::*;
use crate::db::{Database, Engine};
use crate::secrets::MasterKey;
use mindweave_policy::Secret;
use mindweave_test_servers::Postgres;

tokio::task_local! {
    /// What the databases of this test are.
    static ENGINE: Engine;
}

/// Makes two tests of each function: its servers have a file, or a database on PostgreSQL.
macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use super::super::{ENGINE, Engine};

            #[tokio::test(flavor = "multi_thread")]
            async fn in_a_file() {
                ENGINE.scope(Engine::Sqlite, super::$test()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgresql() {
                ENGINE.scope(Engine::Postgres, super::$test()).await;
            }
        })+
    };
}
use on_every_engine;

const TOKEN: &str = "the-admin-token-of-the-tests";

/// A running control plane with its own folder.
struct Server {
    control_plane: ControlPlane,
    client: Client,
    folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let control_plane = ControlPlane::start(config(folder.path(), "11")).await.unwrap();
        let client = Client::new(control_plane.local_addr());
        Self { control_plane, client, folder }
    }

    async fn restart(self) -> Self {
        self.control_plane.shutdown().await;
        Self::start_in(self.folder).await
    }

    /// The id of a new project.
    fn project(&self, name: &str) -> String {
        let answer = self.client.post("/projects", &serde_json::json!({ "name": name }));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }
}

fn config(folder: &Path, master_key_byte: &str) -> ControlPlaneConfig {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let master_key = MasterKey::from_text(&master_key_byte.repeat(32)).unwrap();
    let century = Duration::from_secs(100 * 365 * 86_400); // the tests' events have fixed times, long ago
    let retention = Retention { raw: century, minute: century, hour: century };
    let database = database(folder);
    ControlPlaneConfig {
        retention,
        ..ControlPlaneConfig::new(listen, database, Secret::new(TOKEN.into()), master_key)
    }
}

/// The database that belongs to a folder.
fn database(folder: &Path) -> Database {
    match ENGINE.get() {
        Engine::Sqlite => Database::Sqlite(folder.join("ledger.db")),
        Engine::Postgres => {
            let file = folder.join("database-url");
            let url = std::fs::read_to_string(&file).unwrap_or_else(|_| {
                let url = tokio::task::block_in_place(|| Postgres::shared().create_database());
                std::fs::write(&file, &url).unwrap();
                url
            });
            Database::Postgres(Secret::new(url))
        }
    }
}

/// Everything that is stored in the database of a folder.
fn stored(folder: &Path) -> Vec<Vec<u8>> {
    match database(folder) {
        Database::Sqlite(_) => {
            let files = std::fs::read_dir(folder).unwrap();
            files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        }
        Database::Postgres(url) => {
            let mut dump = std::process::Command::new(Postgres::shared().bin("pg_dump"));
            let dump = dump.arg("--data-only").arg("-d").arg(url.expose_secret()).output().unwrap();
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            vec![dump.stdout]
        }
    }
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The fields that were refused.
    fn refused(&self) -> Vec<&str> {
        let faults = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        faults.iter().map(|fault| fault["field"].as_str().unwrap()).collect()
    }
}

/// A client that blocks its thread; the server runs on others.
struct Client {
    agent: ureq::Agent,
    addr: SocketAddr,
}

impl Client {
    fn new(addr: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self { agent: config.into(), addr }
    }

    fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body.to_string().as_bytes()))
    }

    fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, Some(body.to_string().as_bytes()))
    }

    fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, Some(body.to_string().as_bytes()))
    }

    /// Makes something, and returns its id.
    fn create(&self, path: &str, body: &Value) -> String {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let id = answer.body["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("{path}/{id}"));
        id
    }

    fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
    }

    fn call(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        let headers =
            [("authorization", format!("Bearer {TOKEN}")), ("content-type", "application/json".into())];
        self.call_with(method, path, &headers, body)
    }

    fn call_with(&self, method: &str, path: &str, headers: &[(&str, String)], body: Option<&[u8]>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        tokio::task::block_in_place(|| {
            let response = match body {
                Some(body) => self.agent.run(request.body(body).unwrap()),
                None => self.agent.run(request.body(()).unwrap()),
            };
            let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            let text = response.body_mut().read_to_string().unwrap();
            let body = if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text).unwrap_or(text.into())
            };
            Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
        })
    }

    /// Every entry of a list, page by page.
    fn pages(&self, path: &str, limit: usize, mut between: impl FnMut()) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let answer = self.get(&format!("{path}{joint}limit={limit}{cursor}"));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let page = answer.body["data"].as_array().unwrap().clone();
            assert!(page.len() <= limit);
            entries.extend(page);
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return entries,
            }
            between();
        }
    }
}
