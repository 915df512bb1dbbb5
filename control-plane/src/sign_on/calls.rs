//! Calls of providers, which block, on threads of their own kind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mindweave_identity::oidc::{Oidc, OidcError, Registration};
use tokio::sync::Semaphore;

use crate::http::problem::{Code, Problem};

/// Most calls at a time. Each holds a thread, mostly waiting; the pool has hundreds.
const MAX_CALLS: usize = 64;
/// Most looks at providers that are set up, at a time: administrators with providers that hang must not keep people from signing on.
const MAX_LOOKS: usize = 8;
/// How long a call waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of all providers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SignOn {
    oidc: Arc<Oidc>,
    turns: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

impl fmt::Debug for SignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignOn(..)")
    }
}

impl Default for SignOn {
    fn default() -> Self {
        let turns = |most| Arc::new(Semaphore::new(most));
        Self { oidc: Arc::new(Oidc::new()), turns: turns(MAX_CALLS), looks: turns(MAX_LOOKS) }
    }
}

impl SignOn {
    /// Asks a provider about somebody who signs on.
    ///
    /// # Errors
    /// `busy` when too many others do; the inner error is the provider's.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Oidc) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<Result<T, OidcError>, Problem> {
        self.in_turn(&self.turns, call).await
    }

    /// Looks whether a provider can be used.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn look(&self, registration: Registration) -> Result<Result<(), OidcError>, Problem> {
        self.in_turn(&self.looks, move |oidc| oidc.check(&registration)).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        call: impl FnOnce(&Oidc) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<Result<T, OidcError>, Problem> {
        let busy = || {
            Problem::new(Code::Busy, "too many providers are asked at this moment; try again in some seconds")
        };
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(turns).acquire_owned()).await;
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
