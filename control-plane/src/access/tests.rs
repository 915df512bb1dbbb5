use super::grants::Target;
use super::role::ROLES;
use super::scope::AREAS;
use super::*;

fn target<'a>(org_id: &'a str, team_id: Option<&'a str>, project_id: Option<&'a str>) -> Target<'a> {
    Target { org_id, team_id, project_id }
}

#[test]
fn no_role_of_an_organisation_opens_the_installation_or_another_organisation() {
    for role in ROLES {
        let grants = Grants(vec![Grant { org_id: "org_a".into(), place: Place::Org, role }]);
        for access in AREAS.into_iter().flat_map(|area| [Access::read(area), Access::write(area)]) {
            assert!(!grants.allow(target("org_b", None, None), access), "{role:?} {access}");
            let installation = access.area == Area::Installation;
            assert!(
                !(installation && grants.allow(target("org_a", None, None), access)),
                "{role:?} {access}"
            );
        }
    }
}

#[test]
fn an_auditor_reads_everything_and_writes_nothing() {
    for area in AREAS {
        assert_eq!(Role::Auditor.allows(Access::read(area)), area != Area::Installation);
        assert!(!Role::Auditor.allows(Access::write(area)));
    }
}

#[test]
fn a_role_covers_what_it_may_do_all_of() {
    use Role::{Admin, Auditor, Billing, Developer, Owner};
    let covered = |role: Role| ROLES.into_iter().filter(|other| role.covers(*other)).collect::<Vec<_>>();
    assert_eq!(covered(Owner), ROLES);
    assert_eq!(covered(Admin), [Admin, Developer, Billing, Auditor], "an admin makes no owner");
    for role in [Developer, Billing, Auditor] {
        assert_eq!(covered(role), [role]);
        assert!(!role.allows(Access::write(Area::Members)), "and gives none");
    }
    for (role, other) in ROLES.into_iter().flat_map(|role| ROLES.map(|other| (role, other))) {
        for access in AREAS.into_iter().flat_map(|area| [Access::read(area), Access::write(area)]) {
            assert!(
                !role.covers(other) || role.allows(access) || !other.allows(access),
                "{role:?} {other:?}"
            );
        }
    }
}

#[test]
fn a_role_in_a_team_or_project_holds_there_only() {
    let grants = Grants(vec![
        Grant { org_id: "org_a".into(), place: Place::Team("team_1".into()), role: Role::Admin },
        Grant { org_id: "org_a".into(), place: Place::Project("prj_2".into()), role: Role::Developer },
    ]);
    let keys = Access::write(Area::Keys);
    assert!(grants.allow(target("org_a", Some("team_1"), Some("prj_1")), keys));
    assert!(grants.allow(target("org_a", None, Some("prj_2")), keys));
    assert!(!grants.allow(target("org_a", None, Some("prj_3")), keys));
    assert!(!grants.allow(target("org_a", None, None), Access::read(Area::Members)));
    assert!(!grants.allow(target("org_b", Some("team_1"), None), keys), "ids do not carry over to others");
}

#[test]
fn scopes_limit_a_token_and_writing_includes_reading() {
    let scopes = Scopes::parse(["keys:write", "usage:read"]).unwrap();
    assert!(scopes.allow(Access::read(Area::Keys)) && scopes.allow(Access::write(Area::Keys)));
    assert!(scopes.allow(Access::read(Area::Usage)) && !scopes.allow(Access::write(Area::Usage)));
    assert!(!scopes.allow(Access::read(Area::Audit)));
    assert!(Scopes::parse(["*"]).unwrap().allow(Access::write(Area::Privacy)));
    let read = Scopes::parse(["read"]).unwrap();
    assert!(AREAS.into_iter().all(|area| read.allow(Access::read(area)) && !read.allow(Access::write(area))));
    assert_eq!(Scopes::parse(["keys:write", "keys:delete"]), Err("keys:delete"));
}
