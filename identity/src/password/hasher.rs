//! Hashing with argon2id. Each hash takes memory and time on purpose, so only so many run at once, on threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use mindweave_policy::Secret;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Most hashes at once, whatever the machine: with the usual parameters they take 152 MiB together.
const MOST_AT_ONCE: usize = 8;
/// Most that wait for their turn: some seconds' worth. More are told to come back.
const MOST_WAITING: usize = 64;

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordParameters {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes of the memory.
    pub lanes: u32,
}

impl Default for PasswordParameters {
    /// The first of the configurations that OWASP's Password Storage Cheat Sheet gives for argon2id with less memory:
    /// 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// Why a password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many are at it; in a moment there is room again.
    #[error("too many passwords are being checked")]
    Busy,
    /// The parameters, a stored hash or the operating system's randomness do not serve.
    #[error("argon2 failed: {0}")]
    Argon2(String),
    /// The thread that hashed is gone.
    #[error("the hashing of a password was cut off")]
    CutOff(#[source] tokio::task::JoinError),
}

/// Whether a password was the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It was.
    Right {
        /// The stored hash was made with other parameters than are set now: make it anew.
        outdated: bool,
    },
    /// It was not, or there is none.
    Wrong,
}

/// Hashes and verifies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    argon2: Argon2<'static>,
    parameters: Params,
    /// What is verified where there is no hash: it takes as long.
    decoy: Arc<str>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    runs: Arc<AtomicU64>,
}

impl PasswordHasher {
    /// Hashes with these parameters.
    ///
    /// # Errors
    /// When argon2 does not take them, or the operating system has no random bytes.
    pub fn new(parameters: PasswordParameters) -> Result<Self, HashError> {
        let PasswordParameters { memory_kib, passes, lanes } = parameters;
        let failed = |error: argon2::Error| HashError::Argon2(error.to_string());
        let parameters = Params::new(memory_kib, passes, lanes, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters.clone());
        let decoy = hash_now(&argon2, &Secret::new("no password has this hash".to_owned()))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            argon2,
            parameters,
            decoy: decoy.into(),
            running: Arc::new(Semaphore::new(cores.min(MOST_AT_ONCE))),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            runs: Arc::default(),
        })
    }

    /// How many hashes were computed since the start: what sign-ins cost, whoever they were of.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn hash(&self, password: &Secret) -> Result<String, HashError> {
        let password = password.clone();
        self.run(move |argon2| hash_now(argon2, &password)).await?
    }

    /// Compares a password with a stored PHC string. Without one it takes as long, and is wrong.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn verify(&self, password: &Secret, stored: Option<&str>) -> Result<Verified, HashError> {
        let exists = stored.is_some();
        let (password, stored) = (normalised(password), stored.unwrap_or(&self.decoy).to_owned());
        let parameters = self.parameters.clone();
        let verified = self.run(move |argon2| {
            let hash = PasswordHash::new(&stored).map_err(|error| HashError::Argon2(error.to_string()))?;
            let right = argon2.verify_password(password.as_bytes(), &hash).is_ok();
            let outdated = Params::try_from(&hash).ok().is_none_or(|used| {
                (used.m_cost(), used.t_cost(), used.p_cost())
                    != (parameters.m_cost(), parameters.t_cost(), parameters.p_cost())
            });
            Ok(if right { Verified::Right { outdated } } else { Verified::Wrong })
        });
        let verified = verified.await??;
        Ok(if exists { verified } else { Verified::Wrong })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let waiting = self.waiting.try_acquire().map_err(|_| HashError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| HashError::Busy)?;
        drop(waiting);
        self.runs.fetch_add(1, Ordering::Relaxed);
        let argon2 = self.argon2.clone();
        let task = spawn_blocking(move || {
            let _running = running; // also when whoever asked has gone: the memory is taken until the end
            work(&argon2)
        });
        task.await.map_err(HashError::CutOff)
    }
}

fn hash_now(argon2: &Argon2<'_>, password: &Secret) -> Result<String, HashError> {
    let hash = argon2.hash_password(normalised(password).as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| HashError::Argon2(error.to_string()))
}

/// The same characters for what looks the same, whichever keyboard typed it: NFKC (NIST SP 800-63B, section 3.1.1.2).
fn normalised(password: &Secret) -> Zeroizing<String> {
    Zeroizing::new(password.expose_secret().nfkc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> PasswordHasher {
        PasswordHasher::new(PasswordParameters { memory_kib: 64, passes: 1, lanes: 1 }).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_hash_and_no_other_is() {
        let hasher = PasswordHasher::new(PasswordParameters::default()).unwrap();
        let hash = hasher.hash(&secret("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let right = hasher.verify(&secret("correct horse battery"), Some(&hash)).await.unwrap();
        assert_eq!(right, Verified::Right { outdated: false });
        assert_eq!(
            hasher.verify(&secret("correct horse batterz"), Some(&hash)).await.unwrap(),
            Verified::Wrong
        );
        assert_ne!(hash, hasher.hash(&secret("correct horse battery")).await.unwrap(), "each has its salt");
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_is_outdated() {
        let hash = quick().hash(&secret("correct horse battery")).await.unwrap();
        let hasher = PasswordHasher::new(PasswordParameters::default()).unwrap();
        let right = hasher.verify(&secret("correct horse battery"), Some(&hash)).await.unwrap();
        assert_eq!(right, Verified::Right { outdated: true });
    }

    #[tokio::test]
    async fn without_a_hash_even_the_decoys_password_is_wrong() {
        let verified = quick().verify(&secret("no password has this hash"), None).await.unwrap();
        assert_eq!(verified, Verified::Wrong);
    }

    #[tokio::test]
    async fn the_same_text_typed_on_another_machine_is_the_same_password() {
        let hasher = quick();
        let hash = hasher.hash(&secret("Stra\u{df}en\u{e4}rger-\u{fb01}x")).await.unwrap(); // composed, with a ligature
        let typed = secret("Stra\u{df}ena\u{308}rger-fix");
        assert_eq!(hasher.verify(&typed, Some(&hash)).await.unwrap(), Verified::Right { outdated: false });
    }

    #[tokio::test]
    async fn a_broken_hash_is_an_error_and_lets_nobody_in() {
        assert!(matches!(
            quick().verify(&secret("x"), Some("$argon2id$v=19$broken")).await,
            Err(HashError::Argon2(_))
        ));
    }

    #[tokio::test]
    async fn more_than_can_wait_are_told_to_come_back() {
        let hasher = quick();
        let hold = Arc::clone(&hasher.running)
            .acquire_many_owned(u32::try_from(hasher.running.available_permits()).unwrap());
        let hold = hold.await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::task::spawn(async move { hasher.hash(&secret("correct horse battery")).await })
            })
            .collect();
        while hasher.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hasher.hash(&secret("one too many")).await, Err(HashError::Busy)));
        drop(hold);
        for hash in waiting {
            hash.await.unwrap().unwrap();
        }
    }
}
