//! Which containers are open, one bit each.

/// How deep containers may stand inside each other: 1 KiB of brackets must not cost more than 128 bytes of ours. Far above
/// any real body, and where other parsers of hostile input stop as well.
pub const MAX_DEPTH: usize = 1024;

const WORD_BITS: usize = 64;

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// The stack of open containers.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    /// Bit set: an array.
    arrays: [u64; MAX_DEPTH / WORD_BITS],
    depth: usize,
}

impl Nesting {
    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Opens a container; `None` when it would be deeper than [`MAX_DEPTH`].
    pub(super) fn push(&mut self, container: Container) -> Option<()> {
        let word = self.arrays.get_mut(self.depth / WORD_BITS)?;
        let bit = 1 << (self.depth % WORD_BITS);
        match container {
            Container::Array => *word |= bit,
            Container::Object => *word &= !bit,
        }
        self.depth += 1;
        Some(())
    }

    /// Closes the innermost container.
    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The innermost container; `None` outside all of them.
    pub(super) fn top(&self) -> Option<Container> {
        let at = self.depth.checked_sub(1)?;
        let word = self.arrays.get(at / WORD_BITS)?;
        Some(if word & (1 << (at % WORD_BITS)) == 0 { Container::Object } else { Container::Array })
    }
}
