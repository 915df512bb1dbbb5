//! Keeps what is in memory out of files and logs: no core dumps, no debugger of another process, no words of a panic that could
//! hold a secret.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::config::CoreDumps;

/// Whether this process may leave its memory behind.
pub(crate) fn keep_memory_private(core_dumps: CoreDumps) {
    if core_dumps == CoreDumps::On {
        tracing::warn!("core dumps are on: they hold every key and token in the clear; process.core_dumps");
        return;
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be limited");
    }
    // Also against those that go to a program, which no limit stops, and against debuggers of the same user.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "this process cannot be kept from being dumped");
    }
}

/// Panics go to the log, as where and not as what: values in their words may be anything.
pub(crate) fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture(); // where RUST_BACKTRACE asks for one
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, thread, backtrace, "panic: {}", words(panic.payload()));
}

/// The words of a panic that were written in the program. Those that were made when it ran may have anything in them.
fn words(payload: &(dyn Any + Send)) -> &'static str {
    let withheld = "its words may hold what must not be in a log";
    payload.downcast_ref::<&'static str>().copied().unwrap_or(withheld)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_words_of_the_program_and_no_values() {
        let secret = "sk-ant-secret";
        let made = std::panic::catch_unwind(|| panic!("cannot use {secret}")).unwrap_err();
        assert!(!words(&*made).contains(secret));
        let failing = |secret: &str| Err::<(), String>(secret.to_owned());
        let unwrapped = std::panic::catch_unwind(|| failing(secret).unwrap()).unwrap_err();
        assert!(!words(&*unwrapped).contains(secret));
        let written = std::panic::catch_unwind(|| panic!("the lock is poisoned")).unwrap_err();
        assert_eq!(words(&*written), "the lock is poisoned");
    }
}
