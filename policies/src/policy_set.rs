//! The policies that judge one principal, and how they come to a decision.

mod compiled;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mindweave_metering::{PolicyId, VerdictKind};
use regorus::Value;

use crate::cache::{Cache, Key, Weigh};
use crate::compile::Module;
use crate::decision::{Decision, Verdict};
use crate::error_kind::PolicyErrorKind;
use crate::eval::{Outcome, evaluate, processor_time};
use crate::facts::PolicyInput;
use crate::governance::{OnError, PolicyMode, PolicySpec};
use crate::health::Health;
use crate::input::{Field, FieldSet, Moment, document, write_key};
use crate::verdict::Said;

pub use compiled::CompiledPolicies;

/// Reason of a denial that no policy gave, but its failure.
const POLICY_ERROR: &str = "policy_error";

/// Processor time after which a set's remaining policies are given up: a hundred hostile policies must not add up.
const MAX_PROCESSOR_TIME: Duration = Duration::from_millis(100);

/// What decisions of whole sets may take in memory.
const DECISION_CACHE_BYTES: usize = 24 << 20;

/// What outcomes of single policies may take in memory.
const OUTCOME_CACHE_BYTES: usize = 24 << 20;

/// A policy in force.
#[derive(Debug)]
pub(crate) struct Member {
    /// As it was written.
    pub(crate) spec: Arc<PolicySpec>,
    /// Compiled; `None` when it does not compile.
    pub(crate) module: Option<Arc<Module>>,
    /// How it has been doing.
    pub(crate) health: Arc<Health>,
    /// Different for every policy of one generation.
    pub(crate) number: u64,
    /// Whether its outcomes are worth remembering.
    pub(crate) worth: Worth,
}

/// Looks in vain after which a policy's outcomes are looked up only now and then.
const MANY_MISSES: u32 = 64;

/// How often then.
const RARE_LOOKS: u32 = 16;

/// Whether looking up the outcomes of a policy pays: one that reads what is new in every request is evaluated anyway, and key,
/// look-up and entry cost as much as a part of that.
#[derive(Debug, Default)]
pub(crate) struct Worth {
    /// Since the last hit. Counted without care for other threads: a lost count does no harm.
    misses: AtomicU32,
}

impl Worth {
    /// Whether to look up this one; it counts as a miss until it is a hit.
    fn is_worth_a_look(&self) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        let next = if misses < MANY_MISSES + RARE_LOOKS { misses + 1 } else { MANY_MISSES };
        self.misses.store(next, Ordering::Relaxed);
        misses <= MANY_MISSES
    }

    fn note_hit(&self) {
        self.misses.store(0, Ordering::Relaxed);
    }
}

/// The caches of one generation of policies.
#[derive(Debug)]
pub(crate) struct Caches {
    decisions: Cache<Arc<Decided>>,
    outcomes: Cache<Arc<Result<Outcome, PolicyErrorKind>>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            decisions: Cache::with_capacity(DECISION_CACHE_BYTES),
            outcomes: Cache::with_capacity(OUTCOME_CACHE_BYTES),
        }
    }
}

/// A set's decision with the failures in it.
#[derive(Clone, Debug, Default)]
struct Decided {
    decision: Decision,
    errors: Vec<PolicyError>,
}

impl Weigh for Arc<Decided> {
    fn weight(&self) -> usize {
        let Decision { denials, warnings, shadow } = &self.decision;
        let verdicts = denials.iter().chain(warnings).chain(shadow);
        let texts: usize = verdicts.map(|said| 96 + said.reason.len() + said.message.len()).sum();
        size_of::<Decided>() + texts + self.errors.len() * size_of::<PolicyError>()
    }
}

impl Weigh for Arc<Result<Outcome, PolicyErrorKind>> {
    fn weight(&self) -> usize {
        let said = |said: &Said| 64 + said.reason.len() + said.message.len();
        let texts: usize = match &**self {
            Ok(outcome) => outcome.denials.iter().chain(&outcome.warnings).map(said).sum(),
            Err(_) => 0,
        };
        size_of::<Outcome>() + texts
    }
}

/// The policies that judge a principal.
#[derive(Debug)]
pub struct PolicySet {
    members: Vec<Arc<Member>>,
    reads: FieldSet,
    number: u64,
    caches: Arc<Caches>,
    /// What an evaluation took lately, in nanoseconds of processor time.
    cost: AtomicU64,
}

/// From when on a set is heavy: as long as a few hundred usual policies take.
const HEAVY: Duration = Duration::from_micros(500);

/// How many evaluations back their cost is remembered, about.
const COST_MEMORY: u64 = 8;

/// What a host must find out before it asks a [`PolicySet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// A field of the request that comes from its body.
    pub body_facts: bool,
    /// `input.usage`.
    pub usage: bool,
    /// `input.request.pii`.
    pub pii: bool,
}

/// A decision and what it took.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The decision.
    pub decision: Decision,
    /// Whether the whole decision came from the cache.
    pub cached: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// How many policies were evaluated, not taken from the cache.
    pub evaluated: u32,
    /// Policies without a usable result.
    pub errors: Vec<PolicyError>,
}

/// A policy without a usable result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Which policy.
    pub policy_id: PolicyId,
    /// What went wrong.
    pub kind: PolicyErrorKind,
}

impl PolicySet {
    pub(crate) fn new(members: Vec<Arc<Member>>, caches: Arc<Caches>) -> Self {
        // Sets of all organisations share a cache: a number that came twice would mix their decisions.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let modules = members.iter().filter_map(|member| member.module.as_ref());
        let reads = modules.fold(FieldSet::EMPTY, |reads, module| reads.union(module.reads));
        Self { members, reads, number, caches, cost: AtomicU64::new(0) }
    }

    /// What it needs to know.
    pub fn reads(&self) -> Reads {
        Reads {
            body_facts: self.reads.reads_body(),
            usage: self.reads.has(Field::Usage),
            pii: self.reads.has(Field::Pii),
        }
    }

    /// Judges a request. Never fails: what goes wrong inside a policy follows its `on_error`.
    ///
    /// Blocks for what evaluation takes: microseconds from the cache, some ten per policy otherwise, and some milliseconds for
    /// each policy that runs into its bounds.
    pub fn decide(&self, input: &PolicyInput<'_>) -> Evaluated {
        let start = Instant::now();
        let moment = self.moment(input);
        let key = self.key(input, &moment);
        self.look_up(key, start).unwrap_or_else(|| self.evaluate(input, &moment, key, start))
    }

    /// What [`PolicySet::decide`] says without evaluating anything; `None` where it would have to.
    pub fn cached(&self, input: &PolicyInput<'_>) -> Option<Evaluated> {
        let start = Instant::now();
        self.look_up(self.key(input, &self.moment(input)), start)
    }

    /// Whether evaluations have lately taken so long that other work on the same thread would feel it.
    pub fn is_heavy(&self) -> bool {
        self.cost.load(Ordering::Relaxed) > u64::try_from(HEAVY.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The decision where there was no time for an evaluation: every policy follows its `on_error`.
    pub fn time_out(&self, input: &PolicyInput<'_>) -> Evaluated {
        let mut decided = Decided::default();
        for member in &self.members {
            let kind =
                if member.module.is_some() { PolicyErrorKind::Timeout } else { PolicyErrorKind::Broken };
            decided.add(member, &Err(kind), input.principal.org_name);
        }
        let Decided { decision, errors } = decided;
        Evaluated { decision, errors, ..Evaluated::default() }
    }

    fn moment(&self, input: &PolicyInput<'_>) -> Moment {
        Moment::new(input.now, self.reads.reads_zoned_time().then_some(input.time_zone))
    }

    fn key(&self, input: &PolicyInput<'_>, moment: &Moment) -> Option<Key> {
        (!self.reads.is_unique())
            .then(|| with_key(self.number, input, moment, self.reads, |key| self.caches.decisions.key(key)))
    }

    fn look_up(&self, key: Option<Key>, start: Instant) -> Option<Evaluated> {
        let Decided { decision, errors } = (*self.caches.decisions.get(key?)?).clone();
        Some(Evaluated { decision, cached: true, elapsed: start.elapsed(), evaluated: 0, errors })
    }

    fn evaluate(
        &self,
        input: &PolicyInput<'_>,
        moment: &Moment,
        key: Option<Key>,
        start: Instant,
    ) -> Evaluated {
        let mut asked = Asked {
            set: self,
            input,
            moment,
            start,
            processor_time: processor_time(),
            document: None,
            evaluated: 0,
        };
        let mut decided = Decided::default();
        let mut repeatable = true;
        for member in &self.members {
            let result = asked.outcome(member);
            repeatable &= result.as_ref().as_ref().err().is_none_or(|kind| kind.is_repeatable());
            decided.add(member, &result, input.principal.org_name);
        }
        if let Some(key) = key.filter(|_| repeatable) {
            self.caches.decisions.insert(key, Arc::new(decided.clone()));
        }
        let elapsed = start.elapsed();
        // The thread's clock is not asked where it cannot matter, as that costs a part of what a policy does.
        let cost =
            if elapsed > HEAVY { processor_time().saturating_sub(asked.processor_time) } else { elapsed };
        self.note_cost(cost);
        let Decided { decision, errors } = decided;
        Evaluated { decision, cached: false, elapsed, evaluated: asked.evaluated, errors }
    }

    /// Without care for other threads: a sample that is lost does no harm.
    fn note_cost(&self, cost: Duration) {
        let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        let before = self.cost.load(Ordering::Relaxed);
        let next = (before - before / COST_MEMORY).saturating_add(cost / COST_MEMORY);
        self.cost.store(next, Ordering::Relaxed);
    }
}

/// Hands over what a decision depends on, in a buffer that the thread keeps.
fn with_key<T>(
    owner: u64,
    input: &PolicyInput<'_>,
    moment: &Moment,
    reads: FieldSet,
    use_key: impl FnOnce(&[u8]) -> T,
) -> T {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    /// What the buffer may keep: a request with a thousand tools must not cost every thread its size for good.
    const MAX_KEPT: usize = 64 << 10;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        buffer.extend_from_slice(&owner.to_le_bytes());
        write_key(buffer, input, moment, reads);
        let value = use_key(buffer);
        buffer.shrink_to(MAX_KEPT);
        value
    })
}

/// One request, while it is judged.
struct Asked<'a> {
    set: &'a PolicySet,
    input: &'a PolicyInput<'a>,
    moment: &'a Moment,
    start: Instant,
    /// The thread's, at the start.
    processor_time: Duration,
    /// `input` as a Rego value, made for the first policy that is evaluated.
    document: Option<Value>,
    evaluated: u32,
}

impl Asked<'_> {
    /// The clock is asked first, because it is cheap, and does not decide, because it goes on while the thread does not.
    fn is_out_of_time(&self) -> bool {
        self.start.elapsed() > MAX_PROCESSOR_TIME
            && processor_time().saturating_sub(self.processor_time) > MAX_PROCESSOR_TIME
    }

    fn outcome(&mut self, member: &Member) -> Arc<Result<Outcome, PolicyErrorKind>> {
        let Some(module) = &member.module else { return Arc::new(Err(PolicyErrorKind::Broken)) };
        // With one policy the set's own cache has answered already.
        let worth_a_look =
            self.set.members.len() > 1 && !module.reads.is_unique() && member.worth.is_worth_a_look();
        let outcomes = &self.set.caches.outcomes;
        let key = worth_a_look
            .then(|| with_key(member.number, self.input, self.moment, module.reads, |key| outcomes.key(key)));
        if let Some(outcome) = key.and_then(|key| outcomes.get(key)) {
            member.worth.note_hit();
            return outcome;
        }
        if member.health.is_suspended(self.start) {
            return Arc::new(Err(PolicyErrorKind::Suspended));
        }
        if self.is_out_of_time() {
            return Arc::new(Err(PolicyErrorKind::Timeout));
        }
        let (input, moment, reads) = (self.input, self.moment, self.set.reads);
        let document = self.document.get_or_insert_with(|| document(input, moment, reads));
        let outcome = evaluate(module, document, self.processor_time);
        self.evaluated = self.evaluated.saturating_add(1);
        member.health.note(outcome.as_ref().map(|_| ()).map_err(|kind| *kind), self.start);
        let repeatable = outcome.as_ref().err().is_none_or(|kind| kind.is_repeatable());
        let outcome = Arc::new(outcome);
        if let Some(key) = key.filter(|_| repeatable) {
            outcomes.insert(key, Arc::clone(&outcome));
        }
        outcome
    }
}

impl Decided {
    fn add(&mut self, member: &Member, outcome: &Result<Outcome, PolicyErrorKind>, org_name: &str) {
        let spec = &member.spec;
        let verdict = |kind: VerdictKind, said: &Said| Verdict {
            policy_id: spec.id.clone(),
            policy: Arc::clone(&spec.name),
            version: spec.version,
            kind,
            reason: Arc::clone(&said.reason),
            message: Arc::clone(&said.message),
        };
        let denial = |said: &Said| verdict(VerdictKind::Deny, said);
        let warning = |said: &Said| verdict(VerdictKind::Warn, said);
        let Decision { denials, warnings, shadow } = &mut self.decision;
        // Verdicts of policies in shadow are recorded, and nothing else.
        let enforced = spec.mode == PolicyMode::Enforce;
        match outcome {
            Ok(outcome) if enforced => {
                denials.extend(outcome.denials.iter().map(denial));
                warnings.extend(outcome.warnings.iter().map(warning));
            }
            Ok(outcome) => {
                shadow.extend(outcome.denials.iter().map(denial));
                shadow.extend(outcome.warnings.iter().map(warning));
            }
            Err(kind) => {
                self.errors.push(PolicyError { policy_id: spec.id.clone(), kind: *kind });
                if spec.on_error == OnError::Deny {
                    let said = failure(&spec.name, *kind, org_name);
                    if enforced { denials } else { shadow }.push(denial(&said));
                }
            }
        }
    }
}

/// What the developer is told whose request a policy without result refused.
fn failure(policy: &str, kind: PolicyErrorKind, org_name: &str) -> Said {
    let message = format!(
        "policy \"{policy}\" {}, and requests that it cannot judge are refused; an admin of {org_name} must look at it",
        kind.explanation()
    );
    Said { reason: POLICY_ERROR.into(), message: message.into() }
}
