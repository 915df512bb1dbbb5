//! The limits and budgets that count one principal, with their counters at hand.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::budget::{BudgetCell, BudgetRule, ProjectSizes};
use crate::limits::{LimitCell, LimitRule};
use crate::principal::Principal;
use crate::subject::SubjectKind;

/// The limits and budgets that count one principal.
#[derive(Debug)]
pub struct Rules {
    /// Which set of rules in force they are a part of.
    pub(crate) generation: u64,
    pub(crate) owner: Arc<Owner>,
    /// Plain request rates last.
    pub(crate) limits: Vec<(Arc<LimitRule>, Arc<LimitCell>)>,
    /// In the order of their counters' addresses, in which they are locked.
    pub(crate) budgets: Vec<(Arc<BudgetRule>, Arc<BudgetCell>)>,
    /// Where any rule counts tokens or money.
    pub(crate) sizes: Option<Arc<ProjectSizes>>,
    needs_body: bool,
    used_lately: AtomicBool,
}

impl Rules {
    pub(crate) fn new(
        generation: u64,
        owner: Arc<Owner>,
        mut limits: Vec<(Arc<LimitRule>, Arc<LimitCell>)>,
        mut budgets: Vec<(Arc<BudgetRule>, Arc<BudgetCell>)>,
        sizes: impl FnOnce() -> Arc<ProjectSizes>,
    ) -> Self {
        limits.sort_by_key(|(rule, _)| rule.is_request_rate());
        budgets.sort_by_key(|(_, cell)| Arc::as_ptr(cell).addr());
        let counts_tokens = limits.iter().any(|(rule, _)| rule.counts_tokens())
            || budgets.iter().any(|(rule, _)| rule.counts_use());
        let filters = limits.iter().any(|(rule, _)| !rule.spec.models.is_empty())
            || budgets.iter().any(|(rule, _)| !rule.spec.models.is_empty());
        Self {
            generation,
            owner,
            limits,
            budgets,
            sizes: counts_tokens.then(sizes),
            needs_body: counts_tokens || filters,
            used_lately: AtomicBool::new(true),
        }
    }

    /// Whether any of them needs to know what the body asks for: tokens, cost, or the model.
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }

    /// Gives back what a request held of each budget.
    pub(crate) fn release(&self, held: &[i64]) {
        for (held, (_, cell)) in held.iter().zip(&self.budgets).filter(|(held, _)| **held != 0) {
            cell.counter.lock().release(*held);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.budgets.is_empty()
    }

    pub(crate) fn note_use(&self) {
        if !self.used_lately.load(Ordering::Relaxed) {
            self.used_lately.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the last call.
    pub(crate) fn take_use(&self) -> bool {
        self.used_lately.swap(false, Ordering::Relaxed)
    }
}

/// The ids by which limits and budgets count a principal. Nothing else of it matters here.
#[derive(Debug)]
pub(crate) struct Owner {
    /// Without roles and labels.
    pub(crate) principal: Principal,
}

impl Owner {
    pub(crate) fn of(principal: &Principal) -> Self {
        let principal = Principal {
            org_id: principal.org_id.clone(),
            project_id: principal.project_id.clone(),
            team_id: principal.team_id.clone(),
            user_id: principal.user_id.clone(),
            key_id: principal.key_id.clone(),
            roles: Vec::new(),
            labels: BTreeMap::new(),
        };
        Self { principal }
    }
}

/// Lets a map that is keyed by [`Owner`] be asked with a borrowed [`Principal`].
pub(crate) trait Ids {
    fn ids(&self) -> [Option<&str>; 5];
}

impl Ids for Principal {
    fn ids(&self) -> [Option<&str>; 5] {
        SubjectKind::ALL.map(|kind| kind.id_in(self))
    }
}

impl<'a> Borrow<dyn Ids + 'a> for OwnerKey {
    fn borrow(&self) -> &(dyn Ids + 'a) {
        &self.0.principal
    }
}

/// An [`Owner`] as the key of a map.
#[derive(Debug)]
pub(crate) struct OwnerKey(pub(crate) Arc<Owner>);

impl Hash for OwnerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.principal.ids().hash(state);
    }
}

impl PartialEq for OwnerKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.principal.ids() == other.0.principal.ids()
    }
}

impl Eq for OwnerKey {}

impl Hash for dyn Ids + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ids().hash(state);
    }
}

impl PartialEq for dyn Ids + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.ids() == other.ids()
    }
}

impl Eq for dyn Ids + '_ {}
