use std::collections::BTreeSet;

use mindweave_identity::oidc::{EmailTrust, Person};

use super::person::admit;
use super::provider::{MappedPlace, MappedRole, Provider, Provisioning, Settings};
use super::refusal::Refusal;
use super::store::{self, Stored};
use crate::access::{Access, Area, Caller, OrgPermit, Place, Role};
use crate::clock;
use crate::db::{Connection, sql};
use crate::identity::users::{NewUser, user_insert, user_verified};
use crate::members::{Source, bindings_of, role_bind, roles_from_sign_on};
use crate::testing::Ledger;

const ORG: &str = "org_a";

fn provider() -> Provider {
    let mapped =
        |group: &str, role| MappedRole { group: group.into(), role, place: MappedPlace::Org, place_id: None };
    Provider {
        id: "work".into(),
        org_id: ORG.into(),
        name: "Work".into(),
        issuer: "https://idp.example.com".into(),
        client_id: "mindweave".into(),
        has_client_secret: true,
        settings: Settings {
            groups_claim: Some("groups".into()),
            role_mapping: vec![mapped("eng", Role::Developer), mapped("owners", Role::Owner)],
            domains: vec!["example.com".into()],
            ..Settings::usual()
        },
        enabled: true,
        created_at: clock::now(),
        updated_at: clock::now(),
    }
}

fn ada(groups: &[&str]) -> Person {
    Person {
        subject: "ada".into(),
        email: Some("ada@example.com".into()),
        email_trust: EmailTrust::Verified,
        name: Some("Ada".into()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect::<BTreeSet<_>>(),
        multi_factor: false,
    }
}

async fn orgs(tx: &mut Connection) -> OrgPermit {
    for id in [ORG, "org_b"] {
        sql::query("INSERT INTO orgs (id, name, created_at) VALUES (?, ?, 0)")
            .bind(id)
            .bind(id)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    permit(tx, ORG).await
}

async fn permit(tx: &mut Connection, org: &str) -> OrgPermit {
    Caller::system().org(tx, org, Access::write(Area::Members)).await.unwrap()
}

async fn admitted(tx: &mut Connection, provider: &Provider, person: &Person) -> Result<String, Refusal> {
    admit(tx, &Caller::system(), provider, person).await.unwrap()
}

/// Somebody who has registered with this address.
async fn account(tx: &mut Connection, email: &str, verified: bool) -> String {
    let new =
        NewUser { email, email_verified: false, name: email, password_hash: None, installation_admin: false };
    let id = user_insert(tx, new).await.unwrap();
    if verified {
        user_verified(tx, &id).await.unwrap();
    }
    id
}

async fn give(tx: &mut Connection, org: &str, user: &str, role: Role) {
    let permit = permit(tx, org).await;
    // Two sources: one role does not take the other's place.
    let source = if role == Role::Owner { Source::Manual } else { Source::SignOn("another") };
    role_bind(tx, &permit, user, &Place::Org, role, source).await.unwrap();
}

async fn roles(tx: &mut Connection, user: &str) -> Vec<(Role, String)> {
    let bindings = bindings_of(tx, ORG, user).await.unwrap();
    bindings.into_iter().map(|binding| (binding.role, binding.source)).collect()
}

async fn an_account_is_opened_only_where_the_organisation_could_open_it_anyway(ledger: Ledger) {
    let mut tx = ledger.db.begin_write().await.unwrap();
    orgs(&mut tx).await;
    let (work, person) = (provider(), ada(&["eng"]));
    let user = account(&mut tx, "Ada@Example.com", false).await;
    assert_eq!(admitted(&mut tx, &work, &person).await, Err(Refusal::AccountExists), "no member");
    give(&mut tx, ORG, &user, Role::Auditor).await;
    assert_eq!(admitted(&mut tx, &work, &person).await, Err(Refusal::AccountExists), "not verified here");
    user_verified(&mut tx, &user).await.unwrap();
    let unstated = Person { email_trust: EmailTrust::Unstated, ..person.clone() };
    assert_eq!(admitted(&mut tx, &work, &unstated).await, Err(Refusal::AccountExists), "not verified there");
    let mut anywhere = work.clone();
    anywhere.settings.domains.clear();
    assert_eq!(admitted(&mut tx, &anywhere, &person).await, Err(Refusal::AccountExists), "of any domain");
    give(&mut tx, "org_b", &user, Role::Auditor).await;
    assert_eq!(admitted(&mut tx, &work, &person).await, Err(Refusal::AccountExists), "a member elsewhere");
    sql::query("DELETE FROM role_bindings WHERE org_id = 'org_b'").execute(&mut *tx).await.unwrap();
    give(&mut tx, ORG, &user, Role::Owner).await;
    assert_eq!(admitted(&mut tx, &work, &person).await, Err(Refusal::AccountExists), "an owner");
    sql::query("DELETE FROM role_bindings WHERE role = 'owner'").execute(&mut *tx).await.unwrap();
    sql::query("UPDATE users SET installation_admin = 1").execute(&mut *tx).await.unwrap();
    assert_eq!(admitted(&mut tx, &work, &person).await, Err(Refusal::AccountExists), "runs the installation");
    sql::query("UPDATE users SET installation_admin = 0").execute(&mut *tx).await.unwrap();
    assert_eq!(admitted(&mut tx, &work, &person).await, Ok(user.clone()));
    // From then on it is the subject that counts.
    let renamed = Person { email: Some("countess@example.com".into()), ..person };
    assert_eq!(admitted(&mut tx, &work, &renamed).await, Ok(user.clone()));
    sql::query("UPDATE users SET disabled_at = 1").execute(&mut *tx).await.unwrap();
    assert_eq!(admitted(&mut tx, &work, &renamed).await, Err(Refusal::Disabled));
}

async fn roles_are_what_the_groups_give_and_the_last_owner_stays_one(ledger: Ledger) {
    let mut tx = ledger.db.begin_write().await.unwrap();
    orgs(&mut tx).await;
    let work = provider();
    assert_eq!(admitted(&mut tx, &work, &ada(&["unknown"])).await, Err(Refusal::NoRole));
    let made: i64 = sql::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(made, 0, "nobody is made who may not come in");
    let user = admitted(&mut tx, &work, &ada(&["eng", "owners"])).await.unwrap();
    assert_eq!(roles(&mut tx, &user).await, [(Role::Owner, "work".to_owned())], "the strongest counts");
    for groups in [&["eng"][..], &[]] {
        assert_eq!(admitted(&mut tx, &work, &ada(groups)).await, Ok(user.clone()));
        assert_eq!(roles(&mut tx, &user).await, [(Role::Owner, "work".to_owned())], "the last owner");
    }
    let other = account(&mut tx, "bob@example.com", true).await;
    give(&mut tx, ORG, &other, Role::Owner).await;
    assert_eq!(admitted(&mut tx, &work, &ada(&["eng"])).await, Ok(user.clone()));
    assert_eq!(roles(&mut tx, &user).await, [(Role::Developer, "work".to_owned())]);
    // Who is of another domain now, or not verified, has nothing left.
    let moved = Person { email: Some("ada@elsewhere.example".into()), ..ada(&["eng"]) };
    assert_eq!(admitted(&mut tx, &work, &moved).await, Err(Refusal::Domain));
    assert_eq!(roles(&mut tx, &user).await, []);
    let members = Settings { provisioning: Provisioning::MembersOnly, ..work.settings.clone() };
    let members = Provider { settings: members, ..work };
    assert_eq!(admitted(&mut tx, &members, &ada(&["eng"])).await, Err(Refusal::NotAMember));
}

async fn the_last_owner_is_not_taken_whatever_the_groups_say_nor_without_a_word(ledger: Ledger) {
    let mut tx = ledger.db.begin_write().await.unwrap();
    let permit = orgs(&mut tx).await;
    let work = provider();
    let user = admitted(&mut tx, &work, &ada(&["owners"])).await.unwrap();
    let noted = "SELECT count(*) FROM audit_log";
    let before: i64 = sql::query_scalar(noted).fetch_one(&mut *tx).await.unwrap();
    let developer = (Place::Org, Role::Developer);
    for disabled in [None, Some(1_i64)] {
        // Who is disabled owns it still, and may be enabled again.
        let disable = sql::query("UPDATE users SET disabled_at = ?").bind(disabled);
        disable.execute(&mut *tx).await.unwrap();
        for given in [&[][..], std::slice::from_ref(&developer)] {
            roles_from_sign_on(&mut tx, &permit, &user, "work", given).await.unwrap();
            assert_eq!(roles(&mut tx, &user).await, [(Role::Owner, "work".to_owned())], "{given:?}");
        }
    }
    let after: i64 = sql::query_scalar(noted).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(before, after, "nothing has happened, and nothing is noted");
    sql::query("UPDATE users SET disabled_at = NULL").execute(&mut *tx).await.unwrap();
    let other = account(&mut tx, "bob@example.com", true).await;
    give(&mut tx, ORG, &other, Role::Owner).await;
    roles_from_sign_on(&mut tx, &permit, &user, "work", &[]).await.unwrap();
    assert_eq!(roles(&mut tx, &user).await, []);
}

async fn a_provider_is_stored_found_and_kept_to_its_organisation(ledger: Ledger) {
    let mut tx = ledger.db.begin_write().await.unwrap();
    let permit_a = orgs(&mut tx).await;
    let permit_b = permit(&mut tx, "org_b").await;
    let mut stored = Stored { provider: provider(), sealed: Some(vec![1, 2, 3]) };
    store::provider_insert(&mut tx, &permit_a, &stored).await.unwrap();
    assert_eq!(store::provider_count(&mut tx, &permit_a).await.unwrap(), 1);
    let found = store::provider_view(&mut tx, &permit_a, "work").await.unwrap().unwrap();
    assert_eq!((&found.provider, &found.sealed), (&stored.provider, &stored.sealed));
    assert!(store::provider_view(&mut tx, &permit_b, "work").await.unwrap().is_none());
    assert!(store::provider_list(&mut tx, &permit_b, "", 10).await.unwrap().is_empty());
    assert_eq!(store::provider_list(&mut tx, &permit_a, "", 10).await.unwrap(), [stored.provider.clone()]);
    let domains = ["example.com".to_owned()];
    assert_eq!(
        store::domain_of_others(&mut tx, &permit_b, &domains).await.unwrap().as_deref(),
        Some("example.com")
    );
    assert_eq!(store::domain_of_others(&mut tx, &permit_a, &domains).await.unwrap(), None);
    assert_eq!(store::providers_known(&mut tx, 10).await.unwrap().len(), 1);
    assert!(!store::is_sole_org(&mut tx).await.unwrap());
    assert!(store::provider_enabled(&mut tx, "work").await.unwrap().is_some());
    stored.provider.enabled = false;
    stored.sealed = None;
    stored.provider.has_client_secret = false;
    store::provider_update(&mut tx, &permit_b, &stored).await.unwrap();
    assert!(store::provider_enabled(&mut tx, "work").await.unwrap().is_some(), "another organisation's");
    store::provider_update(&mut tx, &permit_a, &stored).await.unwrap();
    assert!(store::provider_enabled(&mut tx, "work").await.unwrap().is_none());
    assert!(store::sessions_of(&mut tx, &permit_a, "work", clock::now()).await.unwrap().is_empty());
    assert!(store::people_with_roles(&mut tx, &permit_a, "work").await.unwrap().is_empty());
    store::provider_delete(&mut tx, &permit_a, "work").await.unwrap();
    assert!(store::provider_view(&mut tx, &permit_a, "work").await.unwrap().is_none());
}

macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::testing::Ledger;

            #[tokio::test]
            async fn in_a_file() {
                super::$test(Ledger::new().await).await;
            }

            #[tokio::test]
            async fn on_postgresql() {
                super::$test(Ledger::on_postgres().await).await;
            }
        })+
    };
}

on_every_engine!(
    an_account_is_opened_only_where_the_organisation_could_open_it_anyway,
    roles_are_what_the_groups_give_and_the_last_owner_stays_one,
    the_last_owner_is_not_taken_whatever_the_groups_say_nor_without_a_word,
    a_provider_is_stored_found_and_kept_to_its_organisation,
);
