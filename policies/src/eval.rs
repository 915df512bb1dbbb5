//! Evaluating one policy for one request, within bounds.
//!
//! Every worker thread keeps a machine for each module it met, over the module's shared program. Instructions are the
//! first bound: they are counted, so that the same request always meets the same end. The clock is the second, for what
//! instructions do not show; and since a thread may lose the processor for as long as it likes, only a policy that used
//! that much processor time itself is held to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use regorus::Value;
use regorus::rvm::RegoVM;
use regorus::rvm::vm::VmError;
use regorus::utils::limits::ExecutionTimerConfig;

use crate::compile::{Module, begin_entry_point, begin_evaluation, last_failure};
use crate::error_kind::PolicyErrorKind;
use crate::verdict::{Said, verdicts};

/// What one evaluation of one policy may take: some 3 ms. An honest policy takes a few hundred.
pub(crate) const MAX_INSTRUCTIONS: usize = 20_000;

/// How long one policy may take by the clock, unless the thread was not running.
const MAX_ELAPSED: Duration = Duration::from_millis(50);

/// How long it may take when the first try was cut short by a clock that went on while the thread did not.
const MAX_ELAPSED_AGAIN: Duration = Duration::from_secs(1);

/// Processor time above which being cut short was the policy's own doing.
const MAX_PROCESSOR_TIME: Duration = Duration::from_millis(25);

/// Instructions between two looks at the clock. One may take a millisecond.
const CLOCK_INTERVAL: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// Machines that a thread keeps. Each holds some kilobytes; a thread that serves more policies than this makes them anew
/// (80 us each).
const MAX_MACHINES: usize = 512;

/// What a policy said of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Denials.
    pub(crate) denials: Vec<Said>,
    /// Warnings.
    pub(crate) warnings: Vec<Said>,
}

struct Machine {
    /// Away while it runs; boxed, because it is moved twice for each evaluation.
    vm: Option<Box<RegoVM>>,
    /// Dead when the module is no longer in force.
    module: Weak<Module>,
    /// When it was last used, on the thread's own count.
    used: u64,
}

#[derive(Default)]
struct Machines {
    by_module: HashMap<u64, Machine, RandomState>,
    uses: u64,
}

thread_local! {
    static MACHINES: RefCell<Machines> = RefCell::default();
}

/// Evaluates a policy. `processor_time_before`: the thread's [`processor_time`] when its request began to be judged.
///
/// # Errors
/// Why there is no usable result.
pub(crate) fn evaluate(
    module: &Arc<Module>,
    input: &Value,
    processor_time_before: Duration,
) -> Result<Outcome, PolicyErrorKind> {
    let first = run(module, input, MAX_INSTRUCTIONS, MAX_ELAPSED);
    if first != Err(PolicyErrorKind::Timeout) {
        return first;
    }
    // What other policies of the request took counts here as well; it is little, or they were cut short themselves.
    if processor_time().saturating_sub(processor_time_before) >= MAX_PROCESSOR_TIME {
        return first;
    }
    run(module, input, MAX_INSTRUCTIONS, MAX_ELAPSED_AGAIN)
}

/// Evaluates a policy in no more than so many instructions.
///
/// # Errors
/// Why there is no usable result.
pub(crate) fn evaluate_within(
    module: &Arc<Module>,
    input: &Value,
    instructions: usize,
) -> Result<Outcome, PolicyErrorKind> {
    run(module, input, instructions, MAX_ELAPSED_AGAIN)
}

/// The processor time that this thread has used so far.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn run(
    module: &Arc<Module>,
    input: &Value,
    instructions: usize,
    elapsed: Duration,
) -> Result<Outcome, PolicyErrorKind> {
    let Some(mut vm) = take_machine(module) else { return Err(PolicyErrorKind::Runtime) };
    vm.set_max_instructions(instructions);
    vm.set_execution_timer_config(Some(ExecutionTimerConfig {
        limit: elapsed,
        check_interval: CLOCK_INTERVAL,
    }));
    vm.set_input(input.clone());
    begin_evaluation();
    // A panic in the engine must cost this request its policy, not the worker its thread. The machine is thrown away then.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let denials = verdicts(&vm.execute_entry_point_by_index(0).map_err(|error| kind_of(&error))?)?;
        let warnings = if module.warns {
            begin_entry_point();
            verdicts(&vm.execute_entry_point_by_index(1).map_err(|error| kind_of(&error))?)?
        } else {
            Vec::new()
        };
        Ok(Outcome { denials, warnings })
    }));
    match result {
        Ok(Ok(outcome)) => {
            vm.set_input(Value::Undefined);
            give_back(module, vm);
            Ok(outcome)
        }
        // What ran over its bounds may hold megabytes: that machine goes as well.
        Ok(Err(kind)) => Err(kind),
        Err(_) => Err(PolicyErrorKind::Runtime),
    }
}

fn kind_of(error: &VmError) -> PolicyErrorKind {
    match error {
        VmError::InstructionLimitExceeded { .. } => PolicyErrorKind::InstructionLimit,
        // Errors come as a limit, the only kind that a rule does not swallow.
        VmError::MemoryLimitExceeded { .. } if last_failure().is_some() => PolicyErrorKind::Runtime,
        VmError::MemoryLimitExceeded { .. }
        | VmError::MemoryBudgetExceeded { .. }
        | VmError::RegexSizeLimitExceeded { .. } => PolicyErrorKind::WorkLimit,
        VmError::TimeLimitExceeded { .. } => PolicyErrorKind::Timeout,
        _ => PolicyErrorKind::Runtime,
    }
}

/// This thread's machine for a module: the one it kept, or a new one.
fn take_machine(module: &Arc<Module>) -> Option<Box<RegoVM>> {
    let kept = MACHINES.with_borrow_mut(|machines| machines.by_module.get_mut(&module.id)?.vm.take());
    if kept.is_some() {
        return kept;
    }
    let mut vm = Box::new(RegoVM::new());
    vm.load_program(Arc::clone(&module.program));
    vm.set_data(module.data.clone()).ok()?;
    Some(vm)
}

fn give_back(module: &Arc<Module>, vm: Box<RegoVM>) {
    MACHINES.with_borrow_mut(|machines| {
        machines.uses += 1;
        let used = machines.uses;
        if let Some(machine) = machines.by_module.get_mut(&module.id) {
            (machine.vm, machine.used) = (Some(vm), used);
            return;
        }
        if machines.by_module.len() >= MAX_MACHINES {
            machines.make_room();
        }
        let machine = Machine { vm: Some(vm), module: Arc::downgrade(module), used };
        machines.by_module.insert(module.id, machine);
    });
}

impl Machines {
    /// Drops the machines of modules that are no longer in force, and then the less recently used half.
    fn make_room(&mut self) {
        self.by_module.retain(|_, machine| machine.module.strong_count() > 0);
        if self.by_module.len() < MAX_MACHINES {
            return;
        }
        let mut uses: Vec<u64> = self.by_module.values().map(|machine| machine.used).collect();
        uses.sort_unstable();
        let median = uses.get(uses.len() / 2).copied().unwrap_or(0);
        self.by_module.retain(|_, machine| machine.used > median);
    }
}
