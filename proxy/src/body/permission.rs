//! `Expect: 100-continue`: the body is read once the API has said that it wants it.
//!
//! hyper tells the client to go on as soon as somebody asks for the body. Asking only after the API's own `100 Continue` lets a
//! refusal of the API come instead, before the client has sent a large body for nothing (RFC 9110, section 10.1.1).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

/// How long the API may keep silent before the body is sent all the same: what curl grants. Servers that know nothing of
/// `Expect` never say a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Permission that is still to come, as the body waits for it.
#[derive(Debug)]
pub(super) struct Awaited {
    permission: Arc<Permission>,
    /// Begins when the body is first wanted: connecting does not count.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Permission as whoever hears of it gives it.
#[derive(Debug)]
pub(crate) struct Permission {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Awaited(Option<Waker>),
    Given,
}

impl Awaited {
    /// What this request waits for, if it does. Over HTTP/2 interim answers are not ours to send, and HTTP/1.0 has none.
    pub(super) fn by(head: &Parts) -> Option<Self> {
        let asks = head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        (asks && head.version == Version::HTTP_11).then(|| Self {
            permission: Arc::new(Permission { state: Mutex::new(State::Awaited(None)) }),
            patience: None,
        })
    }

    pub(super) fn permission(&self) -> Arc<Permission> {
        Arc::clone(&self.permission)
    }

    /// Ready once the body may be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.permission.state.lock();
            match &mut *state {
                State::Given => return Poll::Ready(()),
                State::Awaited(waker) => *waker = Some(cx.waker().clone()),
            }
        }
        self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx)
    }
}

impl Permission {
    /// The API wants the body.
    pub(crate) fn give(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Given);
        if let State::Awaited(Some(waker)) = before {
            waker.wake();
        }
    }
}
