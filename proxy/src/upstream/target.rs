//! A server of our own to connect to, in the way in which we connect to the API: without its pool, circuit breaker and
//! metrics, which are about the API alone.

use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};

use super::base_url::BaseUrl;
use super::config::{UpstreamConfig, UpstreamConfigError};
use super::connector::Connector;
use super::error::UpstreamError;
use super::tls::Identity;

/// Where to connect, whom to trust there, and what to show.
pub(crate) struct Target {
    base: Arc<BaseUrl>,
    connector: Connector,
}

impl Target {
    /// Connects to nothing yet. Of the settings those about connections count. Servers that ask for a certificate are shown this
    /// one.
    ///
    /// # Errors
    ///
    /// When the URL or a certificate file cannot be used.
    pub(crate) fn showing(
        config: &UpstreamConfig,
        identity: Option<Identity>,
    ) -> Result<Self, UpstreamConfigError> {
        let base = Arc::new(BaseUrl::parse(&config.url)?);
        Ok(Self { connector: Connector::new(config, Arc::clone(&base), identity)?, base })
    }

    /// A new connection, for HTTP/1.1.
    pub(crate) async fn connect(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, UpstreamError> {
        self.connector.connect().await
    }

    /// What the `host` header of requests must say.
    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.base.host_header
    }

    /// The request target for this path and query.
    pub(crate) fn origin_form(&self, uri: &Uri) -> Option<Uri> {
        self.base.origin_form(uri)
    }
}
