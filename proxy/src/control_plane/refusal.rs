//! Why the control plane refuses a call, in words for the log of this proxy.

use std::error::Error;
use std::io;

use http::StatusCode;
use rustls::AlertDescription;
use serde::Deserialize;

use super::client::CallError;

/// The part of an error answer (RFC 9457) that programs read.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

impl CallError {
    /// What an answer with this status and body means.
    pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Self {
        let code = || serde_json::from_slice::<Problem>(body).map(|problem| problem.code).unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => match code().as_str() {
                "client_certificate_required" => Self::CertificateRequired,
                "certificate_name_mismatch" => Self::CertificateName,
                "scope_missing" => Self::Scope,
                _ => Self::Unauthorized,
            },
            other => Self::Status(other),
        }
    }

    /// The control plane's alert about this proxy's certificate, if that is what ended a connection.
    pub(super) fn alert(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut errors = std::iter::successors(Some(error), |error| (*error).source());
        let alert = errors.find_map(|error| {
            let fault = match error.downcast_ref::<io::Error>() {
                Some(error) => error.get_ref()?.downcast_ref::<rustls::Error>(),
                None => error.downcast_ref::<rustls::Error>(),
            };
            match fault {
                Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
                _ => None,
            }
        })?;
        let why = match alert {
            AlertDescription::CertificateRequired => return Some(Self::CertificateRequired),
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError => "no authority that it trusts vouches for it",
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::CertificateRevoked => "it was revoked",
            AlertDescription::UnsupportedCertificate | AlertDescription::CertificateUnknown => {
                "it is not one for clients, or of a kind that is not supported"
            }
            AlertDescription::AccessDenied => "access is denied",
            _ => return None, // about something else: the alert itself is said
        };
        Some(Self::CertificateRefused(why))
    }
}
