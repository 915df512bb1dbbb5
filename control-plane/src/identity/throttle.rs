//! Slows down whoever guesses: passwords, codes, and whose address is registered. Counted in the database, for all control planes
//! together, by three buckets: an identity from an address, the address (of IPv6 its /64, which is what one customer has), and the
//! identity wherever from. The wait grows with every attempt that did not succeed.
//!
//! An attempt is counted as a failed one before it is made, so that many at once count as many. It is not held against its identity
//! where that identity has signed in from before: who guesses from elsewhere cannot lock a person out.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow};

use crate::access::Origin;
use crate::clock;
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::http::problem::{Code, Problem};

/// Characters of a hash that name an identity: nobody is named in clear who may not even be a user.
const HASH_CHARS: usize = 32;

/// What is tried. Each has counts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A password.
    Login,
    /// A code after the password, or in front of a change of factors.
    SecondFactor,
    /// Having a mail sent: a forgotten password, a registration.
    Mail,
    /// Presenting a one-time token.
    Link,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SecondFactor => "second_factor",
            Self::Mail => "mail",
            Self::Link => "link",
        }
    }
}

/// How a bucket slows down.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Attempts without any wait.
    free: u32,
    /// The wait after the next one; it doubles with each.
    first_wait: Duration,
    /// The wait does not grow beyond this.
    longest_wait: Duration,
    /// After this long without an attempt, all are forgotten.
    forget_after: Duration,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// One person at one desk: a handful of slips, then seconds, then minutes.
const PAIR: Rule = Rule {
    free: 5,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(15 * 60),
    forget_after: HOUR,
};
/// An address may be a whole office, which must go on; one guess every half minute finds nothing.
const ADDRESS: Rule = Rule {
    free: 50,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(30),
    forget_after: Duration::from_secs(10 * 60),
};
/// Many addresses guess at one identity: 1 440 guesses a day at most, and nobody waits longer than a minute for others.
const IDENTITY: Rule = Rule {
    free: 30,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(60),
    forget_after: HOUR,
};
/// Nobody needs many mails, and nobody is to be flooded with them.
const MAIL_TO_ONE: Rule = Rule {
    free: 3,
    first_wait: Duration::from_secs(60),
    longest_wait: HOUR,
    forget_after: Duration::from_secs(4 * 60 * 60),
};

/// What is tried, on whom and from where.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    action: Action,
    buckets: Vec<(String, Rule)>,
    pair: Option<String>,
}

impl Attempt {
    /// `identity` is whatever names the one that is guessed at: an address as it was typed, a user's id.
    pub(crate) fn new(action: Action, identity: Option<&str>, origin: &Origin) -> Self {
        let (name, address) = (action.as_str(), origin.address.map(network));
        let identity = identity.map(hashed);
        let pair = (identity.as_ref().zip(address.as_ref()))
            .map(|(identity, address)| format!("{name}:pair:{identity}:{address}"));
        let (by_pair, by_identity) = match action {
            Action::Mail => (MAIL_TO_ONE, MAIL_TO_ONE),
            Action::Login | Action::SecondFactor | Action::Link => (PAIR, IDENTITY),
        };
        let mut buckets = Vec::new();
        buckets.extend(pair.clone().map(|pair| (pair, by_pair)));
        buckets.extend(address.map(|address| (format!("{name}:address:{address}"), ADDRESS)));
        buckets.extend(identity.map(|identity| (format!("{name}:identity:{identity}"), by_identity)));
        buckets.sort_unstable_by(|(one, _), (other, _)| one.cmp(other)); // all lock rows in one order
        Self { action, buckets, pair }
    }

    /// The identity has signed in from there before: what others tried elsewhere does not count.
    pub(crate) fn trusting_address(mut self) -> Self {
        let others = format!("{}:identity:", self.action.as_str());
        self.buckets.retain(|(bucket, _)| !bucket.starts_with(&others));
        self
    }
}

/// The network of an address: what one customer has.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn hashed(identity: &str) -> String {
    let hash = mindweave_policy::Fingerprint::of(identity.as_bytes());
    let hexadecimal: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal.chars().take(HASH_CHARS).collect()
}

#[derive(Clone, Copy, Debug, FromRow)]
struct Counted {
    count: i64,
    updated_at: i64,
}

impl Rule {
    /// How long after the last attempt the next one may be made, in microseconds.
    fn wait_micros(self, count: i64) -> i64 {
        let over = count.saturating_sub(i64::from(self.free)); // 1 is the first one that waits
        if over <= 0 {
            return 0;
        }
        let doubled = 1_u128.checked_shl(u32::try_from(over - 1).unwrap_or(u32::MAX)).unwrap_or(u128::MAX);
        let wait = self.first_wait.as_micros().saturating_mul(doubled).min(self.longest_wait.as_micros());
        i64::try_from(wait).unwrap_or(i64::MAX)
    }

    /// Microseconds from `now` until the next attempt may be made; none when it may be now.
    fn remaining(self, counted: Counted, now: i64) -> Option<i64> {
        if self.forgets(counted, now) {
            return None;
        }
        // Who waited for the row may see that it was counted after it came itself: that alone is no reason to wait.
        let wait = Some(self.wait_micros(counted.count)).filter(|wait| *wait > 0)?;
        let free_at = counted.updated_at.saturating_add(wait);
        Some(free_at.saturating_sub(now)).filter(|left| *left > 0)
    }

    fn forgets(self, counted: Counted, now: i64) -> bool {
        let kept = i64::try_from(self.forget_after.as_micros()).unwrap_or(i64::MAX);
        now.saturating_sub(counted.updated_at) >= kept
    }
}

/// Counts an attempt, or refuses it. A refused one is not counted: who keeps asking does not wait longer for that.
///
/// # Errors
/// 429 `too_many_attempts`, with the time to wait.
pub(crate) async fn check(db: &Db, attempt: &Attempt) -> Result<(), Problem> {
    let now = clock::now().as_microsecond();
    let mut tx = db.begin_apart().await?;
    let mut left = None;
    for (bucket, rule) in &attempt.buckets {
        // First a row, so that there is one to lock: of many at once each then sees what those before it counted.
        let counted = counted_locked(&mut tx, bucket, now).await?;
        left = left.max(rule.remaining(counted, now));
        let count = if rule.forgets(counted, now) { 1 } else { counted.count.saturating_add(1) };
        sql::query("UPDATE attempts SET count = ?, updated_at = ? WHERE bucket = ?")
            .bind(count)
            .bind(now)
            .bind(bucket)
            .execute(&mut *tx)
            .await
            .doing("counting attempts")?;
    }
    match left {
        Some(micros) => Err(too_many(Duration::from_micros(micros.unsigned_abs()))),
        None => Ok(tx.commit().await.doing("counting attempts")?),
    }
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs().saturating_add(1); // so that it is over then
    Problem::new(Code::TooManyAttempts, format!("too many attempts: try again in {seconds} s"))
        .retry_after(seconds)
}

async fn counted_locked(tx: &mut Connection, bucket: &str, now: i64) -> Result<Counted, StoreError> {
    sql::query_as(
        "INSERT INTO attempts (bucket, count, window_start, updated_at) VALUES (?, 0, ?, ?)
         ON CONFLICT (bucket) DO UPDATE SET count = attempts.count RETURNING count, updated_at",
    )
    .bind(bucket)
    .bind(now)
    .bind(now)
    .fetch_one(tx)
    .await
    .doing("counting attempts")
}

/// Forgets what this identity tried from this address, and that this was an attempt: it has succeeded. What others did wrong from the
/// address, or on the identity, stays counted.
pub(crate) async fn succeeded(tx: &mut Connection, attempt: &Attempt) -> Result<(), StoreError> {
    const DOING: &str = "forgetting attempts";
    for (bucket, _) in &attempt.buckets {
        let count = "CASE WHEN count > 0 THEN count - 1 ELSE 0 END";
        let left = if Some(bucket) == attempt.pair.as_ref() { "0" } else { count };
        let sql = format!("UPDATE attempts SET count = {left} WHERE bucket = ?");
        sql::query(AssertSqlSafe(sql)).bind(bucket).execute(&mut *tx).await.doing(DOING)?;
    }
    Ok(())
}

/// Deletes what no rule remembers any more.
pub(super) async fn forget(tx: &mut Connection, now: i64, limit: i64) -> Result<u64, StoreError> {
    let kept = i64::try_from(MAIL_TO_ONE.forget_after.as_micros()).unwrap_or(i64::MAX);
    let done = sql::query(
        "DELETE FROM attempts WHERE bucket IN (SELECT bucket FROM attempts WHERE updated_at < ? LIMIT ?)",
    )
    .bind(now.saturating_sub(kept))
    .bind(limit)
    .execute(tx)
    .await
    .doing("deleting old attempts")?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests;
