//! Calls of providers, which block, on threads of their own kind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mindweave_identity::oidc::{Oidc, OidcError};
use tokio::sync::Semaphore;

use crate::http::problem::{Code, Problem};

/// Most calls at a time. Each holds a thread, mostly waiting; the pool has hundreds.
const MAX_CALLS: usize = 64;
/// How long a call waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of all providers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SignOn {
    oidc: Arc<Oidc>,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for SignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignOn(..)")
    }
}

impl Default for SignOn {
    fn default() -> Self {
        Self { oidc: Arc::new(Oidc::new()), turns: Arc::new(Semaphore::new(MAX_CALLS)) }
    }
}

impl SignOn {
    /// Asks providers.
    ///
    /// # Errors
    /// `busy` when too many others do; the inner error is the provider's.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Oidc) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<Result<T, OidcError>, Problem> {
        let busy =
            || Problem::new(Code::Busy, "too many people sign on at this moment; try again in some seconds");
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let oidc = Arc::clone(&self.oidc);
        let called = tokio::task::spawn_blocking(move || {
            let result = call(&oidc);
            drop(turn);
            result
        });
        called.await.map_err(|error| Problem::internal(&error))
    }
}
