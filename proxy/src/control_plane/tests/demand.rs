//! What a proxy reports of its use of limits, and what it makes of the answers.

use std::collections::BTreeMap;

use mindweave_metering::{LimitId, OrgId};
use mindweave_policy::{
    AskedModels, Demand, Governance, LimitMetric, LimitShare, LimitSpec, Portion, Principal, Reservation,
    ShareAnswer, Subject, SubjectKind,
};

use super::scripted::Answer;
use super::*;

const AT_A_TIME: u64 = 100;

fn principal() -> Principal {
    Principal {
        org_id: OrgId::new("org_1"),
        project_id: ProjectId::new("prj_1"),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// With a limit on open requests.
fn limited() -> Snapshot {
    let limit = LimitSpec {
        id: LimitId::new("lim_1"),
        org_id: OrgId::new("org_1"),
        name: "open".into(),
        scope: Subject { kind: SubjectKind::Project, id: None },
        metric: LimitMetric::ConcurrentRequests,
        limit: AT_A_TIME,
        burst: None,
        models: Vec::new(),
    };
    let governance = Governance { limits: vec![Arc::new(limit)], ..Governance::default() };
    Snapshot { governance: Arc::new(governance), ..snapshot(3, "one") }
}

fn told(live_proxies: u32, portion: Option<Portion>) -> ShareAnswer {
    let share = |portion| LimitShare { limit_id: LimitId::new("lim_1"), subject: "prj_1".into(), portion };
    ShareAnswer { live_proxies, shares: portion.into_iter().map(share).collect() }
}

impl Side {
    /// Opens as many requests as it may.
    fn open_all(&self) -> Vec<Reservation> {
        let (admission, principal) = (self.admission.as_ref().unwrap(), principal());
        let mut open = Vec::new();
        loop {
            let rules = admission.in_force(&principal).unwrap();
            let demand = Demand {
                principal: &principal,
                models: AskedModels::default(),
                input_tokens: 0,
                input_tokens_at_most: 0,
                max_output_tokens: None,
                billed: false,
                reports_use: true,
                price: &|_, _| None,
                batch: None,
                now: crate::clock::now(),
                at: Instant::now(),
            };
            match admission.admit(&rules, &demand) {
                Ok(reservation) => open.push(reservation),
                Err(_) => return open,
            }
        }
    }
}

async fn watching(side: &mut Side) -> Scripted {
    let control_plane = Scripted::start([Answer::Open([whole(&limited()), figures()].concat())]).await;
    control_plane.demand.answer(&told(2, None));
    side.start(&control_plane.url);
    side.in_force(3).await;
    let admission = Arc::clone(side.admission.as_ref().unwrap());
    admission.apply(&side.snapshots.load(), Instant::now()); // as the proxy does that follows the snapshots
    control_plane
}

#[tokio::test]
async fn limits_under_pressure_are_reported_and_enforced_by_the_portion_that_is_told() {
    let mut side = Side::new();
    let control_plane = watching(&mut side).await;
    eventually("it is one of two", || (side.open_all().len() == 50).then_some(())).await;
    let report = eventually("the limit is reported", || {
        control_plane.demand.reports().into_iter().find(|report| !report.limits.is_empty())
    })
    .await;
    assert_eq!((&*report.journal, report.live_proxies), (side.journal.id(), 2));
    let limit = &report.limits[0];
    assert_eq!((limit.limit_id.as_str(), &*limit.subject, limit.held), ("lim_1", "prj_1", None));
    assert_eq!(u64::from(limit.pieces), AT_A_TIME);
    control_plane.demand.answer(&told(2, Some(Portion::new(97, 100))));
    eventually("its portion grows", || (side.open_all().len() == 97).then_some(())).await;
    let held = |portion| {
        move |report: &mindweave_policy::DemandReport| {
            report.limits.first().is_some_and(|limit| limit.held == Some(portion))
        }
    };
    let grown = held(Portion::new(97, 100));
    eventually("it says so", || control_plane.demand.reports().last().is_some_and(&grown).then_some(()))
        .await;
    let before = Instant::now();
    control_plane.demand.answer(&told(2, Some(Portion::new(3, 100))));
    let shrunk = held(Portion::new(3, 100));
    eventually("it shrinks", || control_plane.demand.reports().last().is_some_and(&shrunk).then_some(()))
        .await;
    assert!(before.elapsed() < Duration::from_secs(5), "said at once, and not a second later");
    let numbers: Vec<u64> = control_plane.demand.reports().iter().map(|report| report.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[tokio::test]
async fn a_proxy_that_stops_says_farewell_and_a_control_plane_that_knows_no_reports_is_no_obstacle() {
    let mut side = Side::new();
    let control_plane = watching(&mut side).await;
    eventually("it reports", || (!control_plane.demand.reports().is_empty()).then_some(())).await;
    side.stop().await;
    assert!(control_plane.demand.reports().pop().unwrap().leaving);

    let older = Scripted::start([Answer::Open([whole(&limited()), figures()].concat())]).await;
    let mut side = Side::new();
    side.start(&older.url);
    side.in_force(3).await;
    side.admission.as_ref().unwrap().apply(&side.snapshots.load(), Instant::now());
    eventually("it tries", || (!older.demand.reports().is_empty()).then_some(())).await;
    assert_eq!(u64::try_from(side.open_all().len()), Ok(AT_A_TIME), "alone, as the figures say");
}
