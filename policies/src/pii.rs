//! Which categories of personal data and secrets a request body holds.
//!
//! Detection is by form and checksum: a card number must pass Luhn and begin like a card, an IBAN must have its
//! country's length and pass mod 97, a number in the middle of a longer one is none. Names, addresses and anything else
//! that only its meaning tells are not found. A finding is a category; what was found is kept nowhere.
//!
//! Cost: one pass over the body in windows of bounded size. Each byte is looked at a bounded number of times, whatever
//! the bytes are, so hostile bodies cost what honest ones do.

mod email;
mod iban;
mod ip;
mod numbers;
mod secrets;
#[cfg(test)]
mod tests;
mod text;
mod window;

use text::Unescaped;
use window::{LEAD, TAIL, Window};

/// Every category that [`detect`] knows.
pub const CATEGORIES: [&str; 7] =
    ["api_key", "credit_card", "email", "iban", "ip_address", "phone", "us_ssn"];

/// How much text is searched at a time: fits the second-level cache, and bounds the memory.
const WINDOW_BYTES: usize = 64 * 1024;

/// How much of a window is searched again with the next: more than the longest finding (an e-mail address, 320 bytes)
/// and what is looked at around it.
const OVERLAP_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    ApiKey,
    CreditCard,
    Email,
    Iban,
    IpAddress,
    Phone,
    UsSsn,
}

impl Category {
    const ALL: [Self; CATEGORIES.len()] =
        [Self::ApiKey, Self::CreditCard, Self::Email, Self::Iban, Self::IpAddress, Self::Phone, Self::UsSsn];

    fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::CreditCard => "credit_card",
            Self::Email => "email",
            Self::Iban => "iban",
            Self::IpAddress => "ip_address",
            Self::Phone => "phone",
            Self::UsSsn => "us_ssn",
        }
    }
}

/// The categories that are found in a request body, in the order of [`CATEGORIES`].
///
/// `body` is JSON with its content encoding undone. Escapes in it are resolved (`\u0040` is `@`), keys are searched like
/// values, and long runs of base64 are passed over. Anything else than JSON is searched as it is.
pub fn detect(body: &[u8]) -> Vec<&'static str> {
    detect_by_windows(body, WINDOW_BYTES)
}

fn detect_by_windows(body: &[u8], window_bytes: usize) -> Vec<&'static str> {
    let mut found = Findings::default();
    let mut text = Unescaped::new(body);
    // The search begins behind the lead, which stands for the text before; before the body there is nothing.
    let mut window = vec![b'\n'; LEAD];
    window.reserve(window_bytes.min(body.len()).saturating_add(OVERLAP_BYTES));
    loop {
        let ended = text.fill(&mut window, OVERLAP_BYTES.saturating_add(window_bytes));
        if ended {
            window.extend([b'\n'; TAIL]);
        }
        found.search(&Window::new(&window));
        if ended || found.is_complete() {
            return found.names();
        }
        window.drain(..window.len().saturating_sub(OVERLAP_BYTES));
    }
}

#[derive(Debug, Default)]
struct Findings {
    found: [bool; CATEGORIES.len()],
}

impl Findings {
    fn lacks(&self, category: Category) -> bool {
        Category::ALL.iter().zip(self.found).any(|(known, found)| *known == category && !found)
    }

    fn note(&mut self, category: Category) {
        for (known, found) in Category::ALL.iter().zip(&mut self.found) {
            *found |= *known == category;
        }
    }

    fn is_complete(&self) -> bool {
        self.found.iter().all(|found| *found)
    }

    fn names(&self) -> Vec<&'static str> {
        let known = Category::ALL.iter().zip(self.found);
        known.filter(|(_, found)| *found).map(|(category, _)| category.as_str()).collect()
    }

    fn search(&mut self, window: &Window<'_>) {
        for at in window.candidates() {
            self.look_at(window, at);
        }
    }

    /// Asks who knows about what begins (or, for e-mail and IPv6, turns) at this byte.
    fn look_at(&mut self, window: &Window<'_>, at: usize) {
        let Some(byte) = window.at(at) else { return };
        match byte {
            b'@' => self.test(Category::Email, || email::surrounds(window, at)),
            b':' => self.test(Category::IpAddress, || ip::v6_turns(window, at)),
            b'+' => self.test(Category::Phone, || numbers::international_phone(window, at)),
            b'0'..=b'9' => self.number(window, at),
            _ => {
                self.test(Category::ApiKey, || secrets::begins(window, at));
                if byte.is_ascii_uppercase() {
                    self.test(Category::Iban, || iban::begins(window, at));
                }
            }
        }
    }

    fn number(&mut self, window: &Window<'_>, at: usize) {
        let Some(groups) = numbers::Groups::read(window, at) else { return };
        self.test(Category::CreditCard, || groups.are_card(window));
        self.test(Category::UsSsn, || groups.are_ssn(window));
        self.test(Category::Phone, || groups.are_phone(window));
        self.test(Category::IpAddress, || groups.are_ip(window));
    }

    fn test(&mut self, category: Category, is_there: impl FnOnce() -> bool) {
        if self.lacks(category) && is_there() {
            self.note(category);
        }
    }
}
