use std::time::{Duration, Instant};

use mindweave_test_servers::{PostgresOptions, TestCa, Tls};

use super::migrating::execute;
use super::*;

fn at(url: &str) -> Database {
    Database::Postgres(Secret::new(url.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_not_to_get_in_says_what_to_do_and_repeats_no_password() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (before, after) = url.split_once("for-tests-only").unwrap();
    let (host, database) = after.rsplit_once('/').unwrap();
    let with_password = |password: &str| format!("{before}{password}{after}");
    let nobody = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!("postgres://me:s3cret@127.0.0.1:{port}/ledger")
    };
    let cases = [
        (with_password("s3cret-wrong"), "user or password is wrong"),
        (format!("{before}for-tests-only{host}/no_such_s3cret"), "create it first"),
        (nobody, "nothing listens there"),
        (format!("{url}?sslmode=verify-full"), "does not speak TLS"),
        (format!("{url}?sslmode=verify-full&sslrootcert=/no/such/file"), "TLS"),
        (format!("postgres://me:s3cret@no-such-host.invalid/{database}"), "cannot be opened"),
        (format!("{url}?passwort=s3cret"), "parameter"),
    ];
    for (url, says) in cases {
        let error = open(&at(&url)).await.unwrap_err();
        let text = told(&error);
        assert!(text.contains(says), "{says}: {text}");
        let text = format!("{text} {error:?}").replace("no_such_s3cret", "");
        assert!(!text.contains("s3cret") && !text.contains("for-tests-only"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_another_encoding_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    let name = format!("{}_ascii", url.rsplit('/').next().unwrap());
    let sql = format!(
        "CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' OWNER mindweave TEMPLATE template0"
    );
    server.query(&server.admin_url(), &sql);
    let error = told(&open(&at(&format!("{url}_ascii"))).await.unwrap_err());
    assert!(error.contains("its encoding is SQL_ASCII, it must be UTF8"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_tables_of_somebody_else_is_refused_and_left_alone() {
    let (_folder, databases) = empty_databases();
    for database in databases {
        // The name of the second is one of ours, too.
        for theirs in ["CREATE TABLE invoices (id TEXT)", "CREATE TABLE projects (id TEXT)"] {
            execute(&database, theirs).await;
            for migrate in [MigrateMode::Auto, MigrateMode::Check] {
                let options = DatabaseOptions { migrate, ..DatabaseOptions::default() };
                let error = told(&Db::open(&database, options).await.unwrap_err());
                assert!(error.contains("holds tables that are not MindWeave's"), "{error}");
                assert!(error.contains("give MindWeave a database of its own"), "{error}");
            }
            let status = SchemaStatus::read(&database).await.unwrap();
            assert_eq!(status.state, SchemaState::Unusable);
            assert!(status.problem.unwrap().contains("not MindWeave's"));
            assert!(status.pending.is_empty());
        }
        // Nothing of ours is in it: this is not there yet.
        execute(&database, "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY)").await;
        execute(&database, "DROP TABLE _sqlx_migrations").await;
        execute(&database, "DROP TABLE invoices").await;
        execute(&database, "DROP TABLE projects").await;
        open(&database).await.unwrap_or_else(|error| panic!("{}", told(&error))).close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_as_the_address_says() {
    let server =
        Postgres::with_options(&PostgresOptions { tls: Tls::Required, ..PostgresOptions::default() });
    let url = server.create_database();
    assert!(url.contains("sslmode=verify-full&sslrootcert="), "{url}");
    let db = open(&at(&url)).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    let encrypted = "SELECT CAST(ssl AS INTEGER)::bigint FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(number(&db, encrypted).await, 1);
    db.close().await;
    let plain = url.split_once('?').unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let stranger = TestCa::new(folder.path());
    let other = stranger.file().display().to_string();
    let error =
        told(&open(&at(&format!("{plain}?sslmode=verify-full&sslrootcert={other}"))).await.unwrap_err());
    assert!(error.contains("TLS failed") && error.contains("sslrootcert"), "{error}");
    let error = told(&open(&at(&format!("{plain}?sslmode=disable"))).await.unwrap_err());
    assert!(error.contains("pg_hba.conf") || error.contains("TLS"), "{error}");
    // As PostgreSQL's own clients have it: an authority that is named is checked, and without one it is encrypted only.
    assert!(open(&at(&format!("{plain}?sslmode=require&sslrootcert={other}"))).await.is_err());
    open(&at(&format!("{plain}?sslmode=require"))).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_is_felt_only_while_it_is_away() {
    let server = Postgres::start();
    let db = open(&at(&server.create_database())).await.unwrap();
    let ask = async || {
        let asked: Result<i64, _> =
            sql::query_scalar("SELECT count(*) FROM orgs").fetch_one(db.readers()).await;
        asked.doing("asking")
    };
    for end in [Postgres::kill, Postgres::stop] {
        ask().await.unwrap();
        drop(db.begin_write().await.unwrap());
        tokio::task::block_in_place(|| end(&server));
        let error = ask().await.unwrap_err();
        assert!(error.is_away() && error.is_busy(), "{error:?}");
        let error = db.begin_write().await.unwrap_err();
        assert!(error.is_away(), "{error:?}");
        tokio::task::block_in_place(|| server.start_again());
        // Every pooled connection is dead, and nobody is told so.
        for _ in 0..20 {
            ask().await.unwrap();
        }
        drop(db.begin_write().await.unwrap());
        drop(db.begin_ingest().await.unwrap());
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_told_from_one_that_thinks_and_is_back_at_once() {
    let server = Postgres::start();
    let url = at(&server.create_database());
    let db = open(&url).await.unwrap();
    let asks = sql::query_scalar::<i64>("SELECT count(*) FROM orgs").fetch_one(db.readers());
    asks.await.unwrap();
    drop(db.begin_write().await.unwrap());
    tokio::task::block_in_place(|| server.freeze());
    let started = Instant::now();
    let asked = sql::query_scalar::<i64>("SELECT count(*) FROM orgs").fetch_one(db.readers()).await;
    assert!(asked.doing("asking").unwrap_err().is_away());
    assert!(db.begin_write().await.unwrap_err().is_away());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    tokio::task::block_in_place(|| server.thaw());
    db.begin_write().await.unwrap().commit().await.unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM orgs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_in_a_transaction_does_not_keep_the_ledger() {
    let server = Postgres::shared();
    let url = at(&server.create_database());
    let (hanging, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let held = hanging.begin_write().await.unwrap();
    let started = Instant::now();
    // The first waits as long as it may wait for the lock; by then the server has ended the session that hangs.
    let got = match other.begin_write().await {
        Ok(tx) => tx,
        Err(error) => {
            assert!(error.is_busy(), "{error:?}");
            other.begin_write().await.unwrap()
        }
    };
    assert!(started.elapsed() < Duration::from_secs(25));
    got.commit().await.unwrap();
    assert!(held.commit().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writes_alone_and_ingest_goes_side_by_side() {
    let url = at(&Postgres::shared().create_database());
    let (one, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let (first, second) = (one.begin_ingest().await.unwrap(), other.begin_ingest().await.unwrap());
    let soon = Duration::from_millis(300);
    assert!(tokio::time::timeout(soon, one.begin_write()).await.is_err(), "beside ingest");
    drop((first, second));
    let writing = one.begin_write().await.unwrap();
    assert!(tokio::time::timeout(soon, other.begin_ingest()).await.is_err(), "beside a writer");
    assert!(tokio::time::timeout(soon, other.begin_write()).await.is_err(), "beside a writer");
    other.begin_read().await.unwrap().commit().await.unwrap();
    writing.commit().await.unwrap();
    other.begin_ingest().await.unwrap().commit().await.unwrap();
}
