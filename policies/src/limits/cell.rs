//! The state of one limit for one subject.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Share;
use super::rate::{Bucket, Rate};
use crate::shares::Portion;

/// The state of one limit for one subject. A new one is a full bucket and no request.
#[derive(Debug, Default)]
pub(crate) struct LimitCell {
    inner: Mutex<Inner>,
    /// Whether it is under pressure and nobody has taken notice yet.
    presses: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) level: Level,
    /// Of one that was under pressure, or whose portion was told. In a box: most of a million cells are neither.
    divided: Option<Box<Divided>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    /// Of rates.
    pub(super) bucket: Bucket,
    /// Of concurrency: requests that are open.
    pub(super) open: u64,
}

/// What a limit that is divided by demand has beside its level.
#[derive(Debug, Default)]
struct Divided {
    /// The portion to go by; without one, an equal one.
    told: Option<Portion>,
    /// Whether what is asked for is reported.
    noticed: bool,
    /// What was asked for since the last report: units of rates; of concurrency, the most that was open and what was refused.
    most_open: u64,
    asked: u64,
}

impl LimitCell {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Whether forgetting it changes nothing. `now` is in nanoseconds of the process, and so positive.
    pub(crate) fn is_as_new(&self, now: i64) -> bool {
        let inner = self.inner.lock();
        inner.level.open == 0 && inner.level.bucket.full_at <= now
    }

    /// Requests that are open.
    pub(crate) fn open(&self) -> u64 {
        self.inner.lock().level.open
    }

    /// Whether it has come under pressure, and is not noticed yet.
    pub(crate) fn presses(&self) -> bool {
        self.presses.load(Ordering::Relaxed)
    }

    /// Somebody takes notice, or has no room for it: then it is told again when it presses the next time.
    pub(crate) fn notice(&self, has_room: bool) {
        let mut inner = self.inner.lock();
        self.presses.store(false, Ordering::Relaxed);
        inner.divided.get_or_insert_default().noticed = has_room;
    }

    /// What was asked for since the last call.
    pub(crate) fn take_asked(&self) -> u64 {
        let mut inner = self.inner.lock();
        let open = inner.level.open;
        let Some(divided) = &mut inner.divided else { return 0 };
        let asked = divided.asked.saturating_add(divided.most_open);
        divided.asked = 0;
        divided.most_open = open;
        asked
    }

    /// It is not reported any more.
    pub(crate) fn ignore(&self) {
        let mut inner = self.inner.lock();
        match &mut inner.divided {
            Some(divided) if divided.told.is_some() => {
                **divided = Divided { told: divided.told, ..Divided::default() };
            }
            _ => inner.divided = None,
        }
    }

    /// Counts a request for so many units, which was admitted or not. Of concurrency, those that are open count as they are.
    pub(super) fn note(
        &self,
        inner: &mut Inner,
        units: u64,
        concurrent: bool,
        admitted: bool,
        presses: bool,
    ) {
        if inner.divided.is_none() && !presses {
            return;
        }
        let open = inner.level.open;
        let divided = inner.divided.get_or_insert_default();
        divided.most_open = divided.most_open.max(open);
        if !(concurrent && admitted) {
            divided.asked = divided.asked.saturating_add(units);
        }
        if presses && !divided.noticed {
            self.presses.store(true, Ordering::Relaxed);
        }
    }

    /// From now on this portion is to be gone by; an equal one, where none was told.
    pub(super) fn tell(&self, now: i64, told: Option<Portion>, even: Portion, rate: &Rate) {
        let mut inner = self.inner.lock();
        if told.is_none() && inner.divided.is_none() {
            return;
        }
        let share = Share { portion: told.unwrap_or(even), since: now };
        inner.level.bucket.go_by(share, rate);
        inner.divided.get_or_insert_default().told = told;
    }
}

impl Inner {
    /// The share to go by.
    pub(super) fn share(&self, even: Share) -> Share {
        let told = self.divided.as_ref().and_then(|divided| divided.told);
        told.map_or(even, |portion| Share { portion, ..even })
    }
}
