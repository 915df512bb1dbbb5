//! The levels of sums and how far each is.

use crate::db::{Connection, Doing, StoreError, sql};

/// Microseconds in a minute, an hour and a day (UTC has no other lengths here: leap seconds do not exist in Unix time).
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A level of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Minute,
    Hour,
    Day,
}

impl Level {
    /// All levels, finest first.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Its name in `rollup_state` and in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Minute => "usage_minute",
            Self::Hour => "usage_hour",
            Self::Day => "usage_day",
        }
    }

    /// Length of a bucket in microseconds.
    pub(crate) fn micros(self) -> i64 {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// The start of the bucket that holds this moment; both in microseconds.
    pub(crate) fn floor(self, micros: i64) -> i64 {
        micros.saturating_sub(micros.rem_euclid(self.micros()))
    }

    /// The first start of a bucket at or after this moment.
    pub(crate) fn ceil(self, micros: i64) -> i64 {
        self.floor(micros.saturating_add(self.micros().saturating_sub(1)))
    }
}

/// How far the levels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Hours before this are closed.
    pub(crate) hour_complete_until: i64,
    /// Days before this are closed.
    pub(crate) day_complete_until: i64,
    /// Minutes before this were dropped.
    pub(crate) minute_kept_from: i64,
    /// Hours before this were dropped.
    pub(crate) hour_kept_from: i64,
}

impl State {
    /// Whether an event of this moment, arriving now, belongs into a row of this level.
    pub(crate) fn books(&self, level: Level, micros: i64) -> bool {
        let bucket = level.floor(micros);
        match level {
            Level::Minute => bucket >= self.minute_kept_from,
            Level::Hour => bucket < self.hour_complete_until && bucket >= self.hour_kept_from,
            Level::Day => bucket < self.day_complete_until,
        }
    }

    /// From when on a level's rows are there.
    pub(crate) fn kept_from(&self, level: Level) -> Option<i64> {
        match level {
            Level::Minute => Some(self.minute_kept_from),
            Level::Hour => Some(self.hour_kept_from),
            Level::Day => None,
        }
    }
}

/// Reads how far the levels are. Inside a write transaction nobody can move them meanwhile.
pub(crate) async fn states_read(tx: &mut Connection) -> Result<State, StoreError> {
    let rows: Vec<(String, i64, i64)> =
        sql::query_as("SELECT level, complete_until, kept_from FROM rollup_state")
            .fetch_all(tx)
            .await
            .doing("reading the rollup watermarks")?;
    let mut state = State::default();
    for (level, complete_until, kept_from) in rows {
        match level.as_str() {
            "minute" => state.minute_kept_from = kept_from,
            "hour" => (state.hour_complete_until, state.hour_kept_from) = (complete_until, kept_from),
            "day" => state.day_complete_until = complete_until,
            _ => return Err(StoreError::Corrupt { what: "a rollup level" }),
        }
    }
    Ok(state)
}
