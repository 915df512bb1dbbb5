//! Random bytes from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no random bytes. Nothing secret may be made without them.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoEntropy;

/// An array of random bytes, fit for keys and nonces.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}
