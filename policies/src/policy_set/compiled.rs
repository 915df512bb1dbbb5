//! Every policy of a snapshot, compiled.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;

use mindweave_metering::{OrgId, PolicyId};
use parking_lot::RwLock;

use crate::compile::{Module, PolicyFault, PolicySource, compile};
use crate::governance::{Governance, PolicyMode, PolicySpec};
use crate::health::Health;
use crate::principal::Principal;
use crate::subject::SubjectKind;

use super::{Caches, Member, PolicySet, Worth};

/// Threads that compile at once.
const MAX_COMPILERS: usize = 4;

/// Sets that an organisation keeps: one for each team and project that have policies of their own. More are made anew for
/// each request, which costs them their cache.
const MAX_SETS: usize = 16_384;

/// Every policy of a snapshot, compiled once and shared by all threads. A clone is the same policies with the same caches.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicies {
    generation: Arc<Generation>,
}

#[derive(Debug, Default)]
struct Generation {
    members: Vec<Arc<Member>>,
    orgs: HashMap<OrgId, OrgPolicies>,
    faults: Vec<(PolicyId, String)>,
    caches: Arc<Caches>,
}

#[derive(Default)]
struct OrgPolicies {
    all: Vec<Arc<Member>>,
    teams: HashMap<Arc<str>, Vec<Arc<Member>>>,
    projects: HashMap<Arc<str>, Vec<Arc<Member>>>,
    sets: RwLock<Sets>,
}

/// Sets by the team and project whose own policies are in them.
type Sets = HashMap<(Option<Arc<str>>, Option<Arc<str>>), Arc<PolicySet>>;

impl fmt::Debug for OrgPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgPolicies").field("all", &self.all.len()).finish_non_exhaustive()
    }
}

/// What compiling a policy came to.
type Compiled = Result<Arc<Module>, Vec<PolicyFault>>;

impl CompiledPolicies {
    /// Compiles what is in force. Blocks, 5 to 20 ms for each policy that `previous` does not hold with the same text and
    /// data. When nothing changed, this is `previous` with its caches.
    ///
    /// Policies are taken to have passed [`crate::PolicyCompiler::check`]; one that does not compile stays in force as broken and
    /// follows its `on_error`.
    pub fn compile(governance: &Governance, previous: Option<&Self>) -> Self {
        let mut specs: Vec<&Arc<PolicySpec>> =
            governance.policies.iter().filter(|spec| spec.mode != PolicyMode::Off).collect();
        // The order of verdicts: from wide to narrow scope, then by name.
        specs.sort_by(|a, b| (a.scope.kind, &a.name, &a.id).cmp(&(b.scope.kind, &b.name, &b.id)));
        let before = previous.map(|previous| &previous.generation.members[..]).unwrap_or_default();
        if let Some(previous) = previous
            && before.iter().map(|member| &member.spec).eq(specs.iter().copied())
        {
            return previous.clone();
        }
        let known: HashMap<&PolicyId, &Arc<Member>> =
            before.iter().map(|member| (&member.spec.id, member)).collect();
        let kept = |spec: &PolicySpec| {
            let member = known.get(&spec.id)?;
            let same = member.spec.rego == spec.rego && member.spec.data == spec.data;
            (same && member.module.is_some()).then_some(*member)
        };
        let new: Vec<&PolicySpec> =
            specs.iter().map(|spec| &***spec).filter(|spec| kept(spec).is_none()).collect();
        let mut compiled = compile_all(&new).into_iter();
        let mut generation = Generation::default();
        for (number, spec) in (0_u64..).zip(specs) {
            let (module, health) = match kept(spec) {
                Some(member) => (member.module.clone(), Arc::clone(&member.health)),
                None => match compiled.next() {
                    Some(Ok(module)) => (Some(module), Arc::default()),
                    Some(Err(faults)) => {
                        generation.faults.push((spec.id.clone(), summary(&faults)));
                        (None, Arc::default())
                    }
                    None => (None, Arc::<Health>::default()),
                },
            };
            generation.add(Arc::new(Member {
                spec: Arc::clone(spec),
                module,
                health,
                number,
                worth: Worth::default(),
            }));
        }
        Self { generation: Arc::new(generation) }
    }

    /// The policies that judge this principal; `None` when there are none.
    pub fn in_force(&self, principal: &Principal) -> Option<Arc<PolicySet>> {
        self.generation.orgs.get(&principal.org_id)?.in_force(principal, &self.generation.caches)
    }

    /// Policies that did not compile: they stay in force and follow their `on_error`.
    pub fn faults(&self) -> &[(PolicyId, String)] {
        &self.generation.faults
    }
}

/// Compiles on a few threads: at start there may be a thousand policies.
fn compile_all(specs: &[&PolicySpec]) -> Vec<Compiled> {
    let compile_one = |spec: &&PolicySpec| {
        let source = PolicySource { rego: Arc::clone(&spec.rego), data: spec.data.clone() };
        compile(&source).map(Arc::new)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).clamp(1, MAX_COMPILERS);
    if specs.len() <= threads {
        return specs.iter().map(compile_one).collect();
    }
    let parts = specs.chunks(specs.len().div_ceil(threads));
    let broken = |part: &[&PolicySpec]| -> Vec<Compiled> {
        part.iter().map(|_| Err(vec![PolicyFault::everywhere("compiling it failed")])).collect()
    };
    thread::scope(|scope| {
        let running: Vec<_> = parts
            .map(|part| (part, scope.spawn(move || part.iter().map(compile_one).collect::<Vec<_>>())))
            .collect();
        running
            .into_iter()
            .flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| broken(part)))
            .collect()
    })
}

/// The first fault, in one line.
fn summary(faults: &[PolicyFault]) -> String {
    let Some(first) = faults.first() else { return String::new() };
    match (first.line, first.column) {
        (Some(line), Some(column)) => format!("{line}:{column}: {}", first.message),
        _ => first.message.clone(),
    }
}

impl Generation {
    fn add(&mut self, member: Arc<Member>) {
        let spec = &member.spec;
        let org = self.orgs.entry(spec.org_id.clone()).or_default();
        let list = match (spec.scope.kind, &spec.scope.id) {
            (SubjectKind::Team, Some(id)) => org.teams.entry(Arc::clone(id)).or_default(),
            (SubjectKind::Project, Some(id)) => org.projects.entry(Arc::clone(id)).or_default(),
            // The organisation; and, rather too wide than not at all, what the API does not let in.
            _ => &mut org.all,
        };
        list.push(Arc::clone(&member));
        self.members.push(member);
    }
}

impl OrgPolicies {
    fn in_force(&self, principal: &Principal, caches: &Arc<Caches>) -> Option<Arc<PolicySet>> {
        let team = principal.team_id.as_ref().and_then(|id| self.teams.get_key_value(id.as_str()));
        let project = self.projects.get_key_value(principal.project_id.as_str());
        if self.all.is_empty() && team.is_none() && project.is_none() {
            return None;
        }
        let scope = (team.map(|(id, _)| Arc::clone(id)), project.map(|(id, _)| Arc::clone(id)));
        if let Some(set) = self.sets.read().get(&scope) {
            return Some(Arc::clone(set));
        }
        let own = team.into_iter().chain(project).flat_map(|(_, members)| members);
        let members = self.all.iter().chain(own).cloned().collect();
        let mut sets = self.sets.write();
        if let Some(set) = sets.get(&scope) {
            return Some(Arc::clone(set));
        }
        let set = Arc::new(PolicySet::new(members, Arc::clone(caches)));
        if sets.len() < MAX_SETS {
            sets.insert(scope, Arc::clone(&set));
        }
        Some(set)
    }
}
