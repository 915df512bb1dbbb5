//! A reservation and the count of those that are open.

use mindweave_policy::{Reservation, Settled};

use crate::metrics;

/// What an open request holds of limits and budgets. Dropped unsettled, it is given back.
#[derive(Debug)]
pub(crate) struct OpenReservation {
    /// `None` once settled.
    reservation: Option<Reservation>,
}

impl OpenReservation {
    pub(super) fn new(reservation: Reservation) -> Self {
        metrics::governance().reservations_open.increment(1.0);
        Self { reservation: Some(reservation) }
    }

    /// Charges what the exchange used in place of what it held.
    pub(crate) fn settle(mut self, settled: Settled) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(settled);
        }
    }
}

impl Drop for OpenReservation {
    fn drop(&mut self) {
        metrics::governance().reservations_open.decrement(1.0);
    }
}
