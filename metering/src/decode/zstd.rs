//! zstd.

use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::{DecodeError, Step};

/// The biggest window that HTTP allows (RFC 9659): 8 MiB. More would let a body demand memory.
const MAX_WINDOW_LOG: u32 = 23;

pub(super) struct Zstd {
    inner: Decoder<'static>,
    /// Between frames: nothing is missing.
    ended: bool,
}

impl Zstd {
    /// # Errors
    /// `Unsupported` when the library cannot give a decoder.
    pub(super) fn new() -> Result<Self, DecodeError> {
        let mut inner = Decoder::new().map_err(|_| DecodeError::Unsupported)?;
        inner
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .map_err(|_| DecodeError::Unsupported)?;
        Ok(Self { inner, ended: false })
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        if self.ended && input.is_empty() {
            return Ok(Step { consumed: 0, produced: 0 });
        }
        let status = self.inner.run_on_buffers(input, output).map_err(|_| DecodeError::Corrupt)?;
        self.ended = status.remaining == 0;
        Ok(Step { consumed: status.bytes_read, produced: status.bytes_written })
    }
}
