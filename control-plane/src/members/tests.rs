//! Whatever roles people have and give one another: nobody ends up with more than those who gave it had.

use std::sync::Arc;

use proptest::prelude::*;

use super::bind::{self, Seat, Source};
use crate::access::{
    Access, Actor, Area, Authority, Caller, Grants, Place, ROLES, Role, Scopes, authority_of,
};
use crate::db::{Connection, Db, sql};
use crate::http::problem::Code;
use crate::testing::{Ledger, install, run_on};

const PEOPLE: usize = 4;
const ORG: &str = "org_1";
const AREAS: [Area; 13] = [
    Area::Org,
    Area::Members,
    Area::Teams,
    Area::Projects,
    Area::Upstream,
    Area::Keys,
    Area::Governance,
    Area::Usage,
    Area::Events,
    Area::Audit,
    Area::Billing,
    Area::SignOn,
    Area::Privacy,
];

/// Somebody gives somebody a role somewhere, or takes it.
#[derive(Clone, Copy, Debug)]
struct Step {
    by: usize,
    whom: usize,
    place: usize,
    role: Option<Role>,
}

fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let role = prop::option::weighted(0.75, prop::sample::select(ROLES.to_vec()));
    let step = (0..PEOPLE, 0..PEOPLE, 0..3_usize, role);
    prop::collection::vec(step.prop_map(|(by, whom, place, role)| Step { by, whom, place, role }), length)
}

fn places() -> [Place; 3] {
    [Place::Org, Place::Team("team_1".to_owned()), Place::Project("prj_2".to_owned())]
}

fn user(number: usize) -> String {
    format!("usr_{number}")
}

fn person(number: usize) -> Caller {
    let actor = Actor::User {
        id: Arc::from(user(number)),
        session_id: None,
        token_id: None,
        installation_admin: false,
    };
    Caller::new(actor, Grants::default(), Scopes::All, Arc::default())
}

/// `prj_2` belongs to `team_1`, and everybody is known.
async fn furnish(db: &Db) {
    install(db).await;
    let mut tx = db.begin_write().await.unwrap();
    for sql in [
        "INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES ('team_1', 'org_1', 't', 0, 0)",
        "INSERT INTO projects (id, org_id, name, created_at, team_id) VALUES ('prj_2', 'org_1', 'p', 0, 'team_1')",
    ] {
        sql::query(sql).execute(&mut *tx).await.unwrap();
    }
    for number in 0..PEOPLE {
        let insert = sql::query(
            "INSERT INTO users (id, email, email_key, name, created_at, updated_at) VALUES (?, ?, ?, 'x', 0, 0)",
        );
        let insert = insert.bind(user(number)).bind(user(number)).bind(user(number));
        insert.execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// What everybody may do everywhere.
async fn all(tx: &mut Connection) -> Vec<[Authority; 3]> {
    let mut all = Vec::new();
    for number in 0..PEOPLE {
        let [org, team, project] = places();
        let who = user(number);
        all.push([
            authority_of(tx, &who, ORG, &org).await.unwrap(),
            authority_of(tx, &who, ORG, &team).await.unwrap(),
            authority_of(tx, &who, ORG, &project).await.unwrap(),
        ]);
    }
    all
}

async fn take(tx: &mut Connection, step: Step) -> Result<(), Code> {
    let caller = person(step.by);
    let [org, team, project] = places();
    let place = [org, team, project][step.place].clone();
    let seat = Seat { caller: &caller, org_id: ORG, place };
    let done = match step.role {
        Some(role) => bind::bind(tx, &seat, &user(step.whom), role, Source::Manual).await,
        None => bind::unbind(tx, &seat, &user(step.whom), Source::Manual).await.map(drop),
    };
    done.map_err(|problem| problem.code())
}

async fn owners(tx: &mut Connection) -> i64 {
    sql::query_scalar("SELECT count(*) FROM role_bindings WHERE place = 'org' AND role = 'owner'")
        .fetch_one(tx)
        .await
        .unwrap()
}

async fn nobody_gets_more_than_was_given(ledger: Ledger, first: Vec<Step>, steps: Vec<Step>) {
    furnish(&ledger.db).await;
    let system = Caller::system();
    let mut tx = ledger.db.begin_write().await.unwrap();
    for Step { whom, place, role, .. } in first {
        let seat = Seat { caller: &system, org_id: ORG, place: places()[place].clone() };
        let role = role.unwrap_or(Role::Admin);
        // An owner who would be the last one stays.
        drop(bind::bind(&mut tx, &seat, &user(whom), role, Source::Manual).await);
    }
    tx.commit().await.unwrap();
    for step in steps {
        let mut tx = ledger.db.begin_write().await.unwrap();
        let (before, owned) = (all(&mut tx).await, owners(&mut tx).await > 0);
        let done = take(&mut tx, step).await;
        if done.is_err() {
            drop(tx); // as a request that is refused
            continue;
        }
        let after = all(&mut tx).await;
        let by = &before[step.by];
        assert!(by[step.place].allows(Access::write(Area::Members)), "{step:?} by one who gives no roles");
        for (number, now) in after.iter().enumerate() {
            for (place, now) in now.iter().enumerate() {
                for need in AREAS.into_iter().flat_map(|area| [Access::read(area), Access::write(area)]) {
                    let had = before[number][place].allows(need);
                    let wider = now.allows(need) && !had && !by[place].allows(need);
                    assert!(!wider, "{step:?} gives {need}, which nobody had");
                    let taken = had && !now.allows(need) && !by[place].allows(need);
                    assert!(!taken, "{step:?} takes {need}, which is more than the taker's own");
                    assert!(number == step.whom || now.allows(need) == had, "{step:?} changes another");
                }
            }
        }
        assert!(!owned || owners(&mut tx).await > 0, "{step:?} takes the last owner");
        tx.commit().await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_roles_widens_what_was_there(first in steps(1..6), steps in steps(1..60)) {
        run_on(Ledger::new(), |ledger| nobody_gets_more_than_was_given(ledger, first, steps));
    }
}
