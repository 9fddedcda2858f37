//! TLS toward outside: rustls, and the roots that the machine's owner trusts.

use std::sync::Arc;

use net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::Error;

use crate::http::error;

/// What HTTP/2 and HTTP/1.1 are called in TLS (RFC 7301), the one that we would rather speak first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A client of TLS, made when the first guest needs one. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    client: Arc<OnceCell<Arc<ClientConfig>>>,
}

// === impl Tls ===

impl Tls {
    /// Makes a connection one that only the server of that name reads.
    ///
    /// # Errors
    /// Why it is not to be trusted, or does not speak TLS.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Error::HttpRequestUriInvalid)?;
        let client = self.client.get_or_try_init(client).await?;
        let connector = TlsConnector::from(Arc::clone(client));
        let connected = connector.connect(name, stream).await;
        connected.map_err(|why| error::of_tls(&why))
    }
}

/// Whether HTTP/2 was agreed on.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == PROTOCOLS.first().copied()
}

async fn client() -> Result<Arc<ClientConfig>, Error> {
    // Some hundred files may have to be read.
    let roots = tokio::task::spawn_blocking(roots).await;
    let roots = roots.map_err(|_| Error::ConfigurationError)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::ConfigurationError)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(client))
}

/// The machine's roots. What cannot be read of them is left out.
fn roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        tracing::warn!(
            "no root certificates are found: guests can trust nobody over https; install the package ca-certificates, or name a file by SSL_CERT_FILE"
        );
    }
    roots
}
