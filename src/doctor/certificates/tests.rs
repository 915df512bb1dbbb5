//! With certificates of the test's own.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::doctor::Status;

/// An authority with a folder for what it signs.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), issuer }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A certificate for `name` and its key, valid for so many hours.
    fn signs(&self, name: &str, hours: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        let mut params = CertificateParams::new(names).unwrap();
        let now = rcgen::date_time_ymd(1970, 1, 1);
        let at = |hours: i64| {
            let seconds = Timestamp::now().as_second() + hours * 3_600;
            now + std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
        };
        (params.not_before, params.not_after) = (at(-48), at(hours));
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn check(&self, purpose: Purpose, certificate: &str, key: &str) -> Check {
        pair("files", purpose, &self.file("cert.pem", certificate), &self.file("key.pem", key))
    }
}

#[test]
fn a_certificate_is_judged_by_how_long_it_lasts() {
    let authority = Authority::new();
    for (hours, status, said) in [
        (24 * 90 + 1, Status::Ok, "(90 days)"),
        (24 * 15, Status::Ok, "(14 days)"),
        (24 * 14 - 1, Status::Warn, "(13 days)"),
        (1, Status::Warn, "(0 days)"),
        (-1, Status::Fail, "expired on "),
    ] {
        for purpose in [Purpose::Server, Purpose::Client] {
            let (certificate, key) = authority.signs("mindweave.internal", hours);
            let check = authority.check(purpose, &certificate, &key);
            assert_eq!(check.status, status, "{hours} hours: {check:?}");
            assert!(
                check.detail.contains(said) && check.detail.starts_with("for mindweave.internal"),
                "{check:?}"
            );
            assert_eq!(check.advice.is_some(), status != Status::Ok);
        }
    }
}

#[test]
fn a_key_of_another_certificate_is_a_failure() {
    let authority = Authority::new();
    let ((certificate, _), (_, key)) = (authority.signs("a", 999), authority.signs("a", 999));
    let check = authority.check(Purpose::Server, &certificate, &key);
    assert_eq!(check.status, Status::Fail);
    assert!(check.detail.contains("do not go together"), "{check:?}");
}

#[test]
fn a_chain_must_lead_from_one_certificate_to_the_next() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.signs("mindweave.internal", 999);
    for purpose in [Purpose::Server, Purpose::Client] {
        let chain = format!("{certificate}{}", authority.issuer.pem());
        assert_eq!(authority.check(purpose, &chain, &key).status, Status::Ok);
        let foreign = format!("{certificate}{}", other.issuer.pem());
        let check = authority.check(purpose, &foreign, &key);
        assert!(check.status == Status::Fail && check.detail.contains("do not lead"), "{check:?}");
        let turned = format!("{}{certificate}", authority.issuer.pem());
        assert_eq!(authority.check(purpose, &turned, &key).status, Status::Fail);
    }
}

#[test]
fn a_server_needs_a_name_and_a_client_does_not() {
    let authority = Authority::new();
    let (certificate, key) = authority.signs("", 9_999);
    assert_eq!(authority.check(Purpose::Server, &certificate, &key).status, Status::Fail);
    assert_eq!(authority.check(Purpose::Client, &certificate, &key).status, Status::Ok);
}

#[test]
fn who_vouches_for_proxies_must_be_an_authority() {
    let authority = Authority::new();
    let good = format!("{}{}", authority.issuer.pem(), Authority::new().issuer.pem());
    let check = authorities(&authority.file("ca.pem", &good));
    assert!(check.status == Status::Ok && check.detail.starts_with("2 in "), "{check:?}");
    let (leaf, _) = authority.signs("proxy-1", 9_999);
    assert_eq!(authorities(&authority.file("ca.pem", &leaf)).status, Status::Fail);
    assert_eq!(authorities(&authority.file("ca.pem", "")).status, Status::Fail);
    assert_eq!(authorities(&authority.folder.path().join("nowhere")).status, Status::Fail);
}
