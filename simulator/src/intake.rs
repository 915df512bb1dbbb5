//! Request bodies on their way in: limited, hashed, and held in memory only where an endpoint needs them whole.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use ring::digest;

use crate::encoding::{DecodeError, Encoding, decode};
use crate::fault::Fault;
use crate::request_log::ExchangeWatch;

/// How much of a body beyond its limit is read and dropped before the refusal.
const MAX_DRAINED_BYTES: usize = 64 << 20;

/// A body that has not been read yet.
pub(crate) struct Intake<B> {
    body: B,
    limit: u64,
    encoding: Option<Encoding>,
    read: u64,
    digest: digest::Context,
}

impl<B: Body<Data = Bytes> + Unpin> Intake<B> {
    /// `encoding` is the value of `content-encoding`.
    pub(crate) fn new(body: B, limit: u64, encoding: &str) -> Self {
        let digest = digest::Context::new(&digest::SHA256);
        Self { body, limit, encoding: Encoding::named(encoding), read: 0, digest }
    }

    /// The next bytes as they arrive; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(frame) = self.body.frame().await {
            // The client went away or broke the protocol: nobody will read the answer.
            let frame = frame.map_err(|_| Fault::invalid("The request body could not be read"))?;
            let Ok(data) = frame.into_data() else { continue }; // trailers mean nothing here
            self.digest.update(&data);
            self.read = self.read.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if self.read > self.limit {
                self.drain().await;
                return Err(Fault::too_large());
            }
            return Ok(Some(data));
        }
        Ok(None)
    }

    /// Reads on without keeping anything: a client that is still sending would lose the refusal to a reset.
    async fn drain(&mut self) {
        let mut left = MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = self.body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    }

    /// Reads to the end and returns the bytes as sent; a body of a single frame is not copied.
    pub(crate) async fn raw(mut self) -> Result<RawBody, Fault> {
        let first = self.next().await?.unwrap_or_default();
        let bytes = match self.next().await? {
            None => first,
            Some(second) => {
                let mut whole = BytesMut::from(first.as_ref());
                whole.extend_from_slice(&second);
                while let Some(more) = self.next().await? {
                    whole.extend_from_slice(&more);
                }
                whole.freeze()
            }
        };
        let (encoding, limit) = (self.encoding, self.limit);
        let (_, digest) = self.finish();
        Ok(RawBody { bytes, digest, encoding, limit })
    }

    /// How much was read, and its SHA-256.
    pub(crate) fn finish(self) -> (u64, [u8; 32]) {
        let digest = self.digest.finish();
        (self.read, digest.as_ref().try_into().unwrap_or([0; 32]))
    }
}

/// A body that has been read, still in its content encoding.
pub(crate) struct RawBody {
    pub(crate) bytes: Bytes,
    pub(crate) digest: [u8; 32],
    encoding: Option<Encoding>,
    limit: u64,
}

impl RawBody {
    /// Undoes the content encoding.
    pub(crate) fn decoded(&self) -> Result<Bytes, Fault> {
        let Some(encoding) = self.encoding else {
            let fault = Fault::invalid("The content encoding of the request body is not supported");
            return Err(fault.with_code("request_body_encoding_unsupported"));
        };
        decode(encoding, &self.bytes, self.limit).map_err(|error| match error {
            DecodeError::Invalid => {
                Fault::invalid(error.to_string()).with_code("request_body_encoding_invalid")
            }
            DecodeError::TooLarge { .. } => {
                Fault::too_large().in_envelope().with_code("request_body_too_large_after_decoding")
            }
        })
    }

    pub(crate) fn note(&self, watch: &ExchangeWatch) {
        watch.body_read(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX), self.digest);
    }
}
