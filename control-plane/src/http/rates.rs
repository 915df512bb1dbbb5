//! How many requests one caller may make, so that no script keeps the others waiting; and one address, where nobody is known.
//!
//! In memory, for each control plane by itself: behind a load balancer over three of them the limits are three times as high.
//! What can be guessed has limits of its own, in the database.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::problem::{Code, Problem};

/// Names of draft-ietf-httpapi-ratelimit-headers-10.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Two cores answer some thousands of simple requests in a second: one script may take a share, and not all of it.
pub const DEFAULT_CALLER_RATE: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// A sign-in page or a health check needs a few. A whole office may have one address.
pub const DEFAULT_ADDRESS_RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Seconds' worth that may come at once after a quiet time: a script that walks a list does not notice the limit.
const BURST_SECONDS: u32 = 10;
/// Callers, or addresses, that are told apart at a time; each takes some tens of bytes. More share [`SHARED`] budgets.
const MAX_KNOWN: usize = 100_000;
/// See [`MAX_KNOWN`]. So many that an attacker who has filled the table does not lock everybody else out with one script.
const SHARED: u64 = 1_024;
/// Requests between two looks for those whose budget is full again, which need not be known any more.
const FORGET_EVERY: u64 = 4_096;
/// The part of an IPv6 address that is assigned to one customer at least.
const IPV6_NETWORK: u128 = !0 << 64;

/// Requests per second, on average over ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Of one caller: a person, a service account, or the admin token.
    pub caller: NonZeroU32,
    /// Of one address, without a valid token.
    pub address: NonZeroU32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { caller: DEFAULT_CALLER_RATE, address: DEFAULT_ADDRESS_RATE }
    }
}

/// The limits, and how much of each was taken. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Arc<(Budgets, Budgets)>);

impl Rates {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self(Arc::new((Budgets::new("caller", limits.caller), Budgets::new("address", limits.address))))
    }

    /// Takes a request of a caller.
    pub(super) fn caller(&self, id: &str) -> Result<Left, Exceeded> {
        let (callers, _) = &*self.0;
        callers.take(callers.hasher.hash_one(id))
    }

    /// Takes a request of nobody known. One whose address is not known counts for all such.
    pub(super) fn address(&self, address: Option<IpAddr>) -> Result<Left, Exceeded> {
        let (_, addresses) = &*self.0;
        let network = address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & IPV6_NETWORK).into()),
        });
        addresses.take(addresses.hasher.hash_one(network))
    }
}

type Limiter = RateLimiter<u64, DefaultKeyedStateStore<u64>, DefaultClock, StateInformationMiddleware>;

/// One limit, and what each of those it is for has left of it.
#[derive(Debug)]
struct Budgets {
    name: &'static str,
    burst: NonZeroU32,
    limiter: Limiter,
    clock: DefaultClock,
    /// Keyed at random, so that nobody can choose whose budget to share.
    hasher: RandomState,
    taken: AtomicU64,
}

impl Budgets {
    fn new(name: &'static str, rate: NonZeroU32) -> Self {
        let burst = rate.saturating_mul(NonZeroU32::new(BURST_SECONDS).unwrap_or(NonZeroU32::MIN));
        let quota = Quota::per_second(rate).allow_burst(burst);
        let limiter = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        let (hasher, taken) = (RandomState::new(), AtomicU64::new(0));
        Self { name, burst, limiter, clock: DefaultClock::default(), hasher, taken }
    }

    fn take(&self, key: u64) -> Result<Left, Exceeded> {
        if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() < MAX_KNOWN { key } else { key % SHARED };
        let left = |remaining, wait| Left { name: self.name, burst: self.burst, remaining, wait };
        match self.limiter.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = self.burst.get().saturating_sub(remaining);
                let until_full = state.quota().replenish_interval().saturating_mul(missing);
                Ok(left(remaining, until_full))
            }
            Err(refused) => Err(Exceeded(left(0, refused.wait_time_from(self.clock.now())))),
        }
    }
}

/// What is left after a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    name: &'static str,
    burst: NonZeroU32,
    remaining: u32,
    /// Until all of it is there again; or after a refusal, until there is some.
    wait: Duration,
}

impl Left {
    /// Says so in an answer.
    pub(super) fn tell(self, mut response: Response) -> Response {
        let Self { name, burst, remaining, .. } = self;
        let (policy, state) = (
            format!("\"{name}\";q={burst};w={BURST_SECONDS}"),
            format!("\"{name}\";r={remaining};t={}", self.seconds()),
        );
        for (header, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, state)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(header, value);
            }
        }
        response
    }

    /// The wait in whole seconds, rounded up.
    fn seconds(self) -> u64 {
        self.wait.as_secs().saturating_add(u64::from(self.wait.subsec_nanos() > 0))
    }
}

/// Nothing was left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exceeded(Left);

impl IntoResponse for Exceeded {
    fn into_response(self) -> Response {
        let Self(left) = self;
        let detail = match left.name {
            "caller" => "you make too many requests; wait, and make fewer at a time",
            _ => "too many requests without a valid token come from your address; wait",
        };
        let problem = Problem::new(Code::TooManyRequests, detail).retry_after(left.seconds().max(1));
        left.tell(problem.into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(caller: u32, address: u32) -> Rates {
        let rate = |rate| NonZeroU32::new(rate).unwrap();
        Rates::new(RateLimits { caller: rate(caller), address: rate(address) })
    }

    #[test]
    fn one_caller_runs_out_and_others_do_not() {
        let rates = rates(1, 1);
        for _ in 0..10 {
            rates.caller("usr_greedy").unwrap();
        }
        let response = rates.caller("usr_greedy").unwrap_err().into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["ratelimit-policy"], "\"caller\";q=10;w=10");
        assert_eq!(response.headers()["ratelimit"], "\"caller\";r=0;t=1");
        rates.caller("usr_other").unwrap();
        rates.address(Some(IpAddr::from([127, 0, 0, 1]))).unwrap();
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_one_as_ipv4() {
        let rates = rates(1, 1);
        let take = |text: &str| rates.address(Some(text.parse().unwrap()));
        for number in 0..10 {
            take(&format!("2001:db8::{number}")).unwrap();
        }
        take("2001:db8::ffff").unwrap_err();
        take("2001:db8:0:1::1").unwrap();
        for _ in 0..10 {
            take("192.0.2.1").unwrap();
        }
        take("::ffff:192.0.2.1").unwrap_err();
    }

    #[test]
    fn those_who_come_after_very_many_others_share_what_is_left_and_memory_stays_bounded() {
        let rates = rates(1, 100_000_000); // so much that nothing is forgotten for being full again
        let (_, addresses) = &*rates.0;
        for number in 0..u64::try_from(MAX_KNOWN).unwrap() * 2 {
            assert!(addresses.take(number << 32 | 0xffff_ffff).is_ok(), "so high a rate is not exceeded");
        }
        let known = addresses.limiter.len();
        assert!(known <= MAX_KNOWN + usize::try_from(SHARED).unwrap(), "{known}");
    }
}
