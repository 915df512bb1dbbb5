//! A certificate authority for one server, with certificates for it and for its clients.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate authority that nobody trusts but the test that made it.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its private key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate alone; the authority's is in [`TestCa::file`].
    pub cert_file: PathBuf,
    /// Its private key (PKCS #8).
    pub key_file: PathBuf,
}

impl TestCa {
    /// Makes an authority whose files go into `folder`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "MindWeave test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a self-signed certificate");
        fs::create_dir_all(folder).expect("a folder that can be written");
        let ca = Self { issuer, folder: folder.to_owned() };
        fs::write(ca.file(), ca.issuer.pem()).expect("a folder that can be written");
        ca
    }

    /// The authority's certificate: what its clients have to trust.
    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for a server that is reached as `localhost` or 127.0.0.1.
    pub fn server(&self) -> Certificate {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, "server", "localhost")
    }

    /// A certificate for a server of another name: a client that checks names must refuse it.
    pub fn server_elsewhere(&self) -> Certificate {
        let mut params = CertificateParams::new(["elsewhere.invalid".to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, "elsewhere", "elsewhere.invalid")
    }

    /// A certificate for a client called `name`.
    pub fn client(&self, name: &str) -> Certificate {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &format!("client-{name}"), name)
    }

    fn sign(&self, mut params: CertificateParams, file: &str, common_name: &str) -> Certificate {
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        let certificate = Certificate {
            cert_file: self.folder.join(format!("{file}.pem")),
            key_file: self.folder.join(format!("{file}-key.pem")),
        };
        fs::write(&certificate.cert_file, signed.pem()).expect("a folder that can be written");
        fs::write(&certificate.key_file, key.serialize_pem()).expect("a folder that can be written");
        certificate
    }
}
