//! Reads which decisions are wanted.

use super::record::{LogEffect, Record};
use super::store::{Columns, Named, policies_named};
use crate::access::Reach;
use crate::app::App;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::usage::Within;

/// Which decisions are wanted.
pub(super) struct Filter {
    pub(super) within: Within,
    pub(super) columns: Columns,
    /// Their ids.
    pub(super) policies: Option<Vec<String>>,
    effect: Option<LogEffect>,
    reason: Option<String>,
}

/// What was asked for, before names are looked up.
pub(super) struct Asked {
    columns: Columns,
    policy: Option<String>,
    effect: Option<LogEffect>,
    reason: Option<String>,
}

impl Asked {
    /// Takes the filter's parameters. The ids have the names of their fields; the short ones mean the same.
    pub(super) fn read(query: &mut Parameters) -> Self {
        let mut either = |long, short| query.text(long).or(query.text(short));
        let columns = Columns {
            project_id: either("project_id", "project"),
            user_id: either("user_id", "user"),
            key_id: either("key_id", "key"),
            from: None,
            to: None,
        };
        let policy = either("policy_id", "policy");
        let columns = Columns { from: query.time("from"), to: query.time("to"), ..columns };
        let effect = query.choice("effect", &LogEffect::WORDS, None);
        Self { columns, policy, effect, reason: query.text("reason") }
    }

    /// Looks names up, and what of it the caller reaches.
    pub(super) async fn resolve(self, app: &App, reach: &Reach) -> Result<Filter, Problem> {
        let within = Within::of(&app.db, reach, self.columns.project_id.as_deref()).await?;
        let policies = match self.policy {
            None => None,
            Some(id) if Named::of(&id).is_some() => Some(vec![id]), // everything else is a name
            Some(name) => Some(policies_named(&mut *app.db.begin_read().await?, reach, &name).await?),
        };
        Ok(Filter { within, columns: self.columns, policies, effect: self.effect, reason: self.reason })
    }
}

impl Filter {
    /// Whether a record is wanted, as far as columns do not tell.
    pub(super) fn wants(&self, record: &Record) -> bool {
        self.policies.as_deref().is_none_or(|ids| record.has_policy(ids))
            && self.effect.is_none_or(|effect| record.has_effect(effect))
            && self.reason.as_deref().is_none_or(|reason| record.has_reason(reason))
    }
}
