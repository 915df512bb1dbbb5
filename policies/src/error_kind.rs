//! Why a policy has no usable result.

/// Why a policy has no usable result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyErrorKind {
    /// `deny` is undefined.
    Undefined,
    /// `deny` or `warn` holds something else than `{reason, message}`.
    Malformed,
    /// It took more instructions than it may.
    InstructionLimit,
    /// Its calls of functions handled more than they may.
    WorkLimit,
    /// It took longer than it may.
    Timeout,
    /// Evaluation failed.
    Runtime,
    /// It does not compile.
    Broken,
    /// It ran over its bounds again and again, and is not evaluated for a while.
    Suspended,
}

impl PolicyErrorKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Undefined,
        Self::Malformed,
        Self::InstructionLimit,
        Self::WorkLimit,
        Self::Timeout,
        Self::Runtime,
        Self::Broken,
        Self::Suspended,
    ];

    /// The word for it in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Malformed => "malformed",
            Self::InstructionLimit => "instruction_limit",
            Self::WorkLimit => "work_limit",
            Self::Timeout => "timeout",
            Self::Runtime => "runtime",
            Self::Broken => "broken",
            Self::Suspended => "suspended",
        }
    }

    /// What happened, to go on "the policy ..".
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Undefined => "gave no result",
            Self::Malformed => "gave a result that is not a set of {reason, message}",
            Self::InstructionLimit => "needed more instructions than a policy may take",
            Self::WorkLimit => "handled more data than a policy may",
            Self::Timeout => "took too long",
            Self::Runtime => "failed while it was evaluated",
            Self::Broken => "does not compile",
            Self::Suspended => "ran over its limits several times and is suspended for a minute",
        }
    }

    /// Whether the same request would end the same way: what depends on the clock would not.
    pub(crate) fn is_repeatable(self) -> bool {
        !matches!(self, Self::Timeout | Self::Suspended)
    }
}
