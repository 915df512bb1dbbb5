//! The certificate that this proxy shows to its control plane.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate_expiry;
use crate::upstream::Identity;

/// A certificate to show to the control plane. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM: the proxy's certificate first, then the intermediates.
    pub certificate_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// A file is not PEM, or lacks what it is there for.
    #[error("{path:?} cannot be used")]
    Pem {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// The certificate's file holds none that can be read.
    #[error("{path:?} holds no usable certificate")]
    NoCertificate {
        /// As configured.
        path: PathBuf,
    },
}

impl ClientCertificate {
    /// Reads both files. Returns when the first certificate of the chain expires as well. Blocks.
    pub(super) fn load(&self) -> Result<(Identity, Timestamp), CertificateError> {
        let path = &self.certificate_file;
        let unusable = |cause| CertificateError::Pem { path: path.clone(), cause };
        let content = read(path)?;
        let chain =
            CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
        let expiry = certificate_expiry::earliest(&chain);
        let expiry = expiry.ok_or_else(|| CertificateError::NoCertificate { path: path.clone() })?;
        let key = zeroize::Zeroizing::new(read(&self.key_file)?);
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|cause| CertificateError::Pem { path: self.key_file.clone(), cause })?;
        Ok((Identity { chain, key }, expiry))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|cause| CertificateError::File { path: path.to_owned(), cause })
}
