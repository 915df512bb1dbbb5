//! What the tests of other crates rely on: PostgreSQL's starts, crashes, freezes and databases.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use mindweave_test_servers::Postgres;

#[test]
fn two_databases_are_apart_and_their_owner_is_no_superuser() {
    let server = Postgres::shared();
    let (one, two) = (server.create_database(), server.create_database());
    server.query(&one, "CREATE TABLE ledger (entry TEXT)");
    server.query(&two, "CREATE TABLE ledger (entry TEXT)");
    server.query(&one, "INSERT INTO ledger VALUES ('only here')");
    assert_eq!(server.query(&one, "SELECT entry FROM ledger"), "only here");
    assert_eq!(server.query(&two, "SELECT count(*) FROM ledger"), "0");
    assert_eq!(server.query(&one, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"), "f");
}
