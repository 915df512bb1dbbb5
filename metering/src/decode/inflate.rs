//! gzip and deflate.

use flate2::{Decompress, FlushDecompress, Status};

use super::{DecodeError, Step};

/// The biggest window of the format; less would refuse valid data.
const WINDOW_BITS: u8 = 15;
/// The first byte of a gzip member.
const GZIP_MAGIC: u8 = 0x1f;

pub(super) struct Inflate {
    inner: Decompress,
    frame: Frame,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Gzip,
    /// zlib or none: its first byte tells.
    Deflate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    Fresh,
    Inside,
    /// After a complete stream; another gzip member may follow.
    Ended,
    /// After bytes that belong to no stream.
    Ignoring,
}

impl Inflate {
    pub(super) fn gzip() -> Self {
        Self { inner: Decompress::new_gzip(WINDOW_BITS), frame: Frame::Gzip, state: State::Fresh }
    }

    pub(super) fn deflate() -> Self {
        Self { inner: Decompress::new(true), frame: Frame::Deflate, state: State::Fresh }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Ignoring)
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        match (self.state, input.first()) {
            (State::Fresh, Some(&first)) => {
                if self.frame == Frame::Deflate && !begins_zlib(first) {
                    self.inner = Decompress::new(false);
                }
                self.state = State::Inside;
            }
            (State::Ended, Some(&GZIP_MAGIC)) if self.frame == Frame::Gzip => {
                self.inner = Decompress::new_gzip(WINDOW_BITS);
                self.state = State::Inside;
            }
            (State::Ended | State::Ignoring, Some(_)) => {
                self.state = State::Ignoring;
                return Ok(Step { consumed: input.len(), produced: 0 });
            }
            (State::Inside, _) => {}
            (_, None) => return Ok(Step { consumed: 0, produced: 0 }),
        }
        let (before_in, before_out) = (self.inner.total_in(), self.inner.total_out());
        let status = self.inner.decompress(input, output, FlushDecompress::Sync);
        if status.map_err(|_| DecodeError::Corrupt)? == Status::StreamEnd {
            self.state = State::Ended;
        }
        Ok(Step {
            consumed: usize::try_from(self.inner.total_in() - before_in).unwrap_or(input.len()),
            produced: usize::try_from(self.inner.total_out() - before_out).unwrap_or(output.len()),
        })
    }
}

/// Whether a deflate body has the zlib frame: method 8 in the low bits, a window size in the high ones. Bare deflate
/// begins with such a byte only in a stored block with dirty padding, which no compressor writes.
fn begins_zlib(first: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7
}
