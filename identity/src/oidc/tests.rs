use super::*;

#[test]
fn an_issuer_is_an_https_address_or_this_machine() {
    for good in [
        "https://accounts.google.com",
        "https://t.auth0.com/",
        "http://127.0.0.1:4000",
        "http://localhost:1/x",
    ] {
        assert_eq!(Issuer::new(good).map(|issuer| issuer.as_str().to_owned()), Ok(good.to_owned()));
    }
    for (bad, fault) in [
        ("accounts.google.com", IssuerFault::NoUrl),
        ("http://idp.example.com", IssuerFault::Insecure),
        ("http://127.0.0.1.example.com", IssuerFault::Insecure),
        ("ftp://example.com", IssuerFault::Insecure),
        ("https://user:pass@example.com", IssuerFault::Surplus),
        ("https://example.com?tenant=1", IssuerFault::Surplus),
        ("https://example.com#x", IssuerFault::Surplus),
    ] {
        assert_eq!(Issuer::new(bad), Err(fault), "{bad}");
    }
}
