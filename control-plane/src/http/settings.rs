//! How the API meets its clients.

use mindweave_policy::IpRange;

use super::rates::RateLimits;

/// Settings of what stands between clients and the API, already checked for form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Load balancers whose `x-forwarded-for` says who the client is. Nobody else's is believed.
    pub trusted_proxies: Vec<IpRange>,
    /// Origins whose pages may call the API from a browser: `https://app.example.com`, or `*` for every one.
    pub cors_origins: Vec<String>,
    /// See [`RateLimits`].
    pub rate_limits: RateLimits,
}
