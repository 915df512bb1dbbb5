//! Which categories of personal data and secrets a request body holds.

/// Every category that [`detect`] knows.
pub const CATEGORIES: [&str; 7] =
    ["api_key", "credit_card", "email", "iban", "ip_address", "phone", "us_ssn"];

/// The categories that are found in a request body, in the order of [`CATEGORIES`]. `body` is JSON, decoded.
pub fn detect(_body: &[u8]) -> Vec<&'static str> {
    Vec::new()
}
