//! Whom we believe: the system's authorities, those of files, or anybody where settings say so.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::target::Trust;

/// Takes any certificate, whoever shows it: `skip_verify`. That the server has the certificate's
/// key is still held against its signature.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

/// What connections are made with. Reads files: not to be called where tasks run.
///
/// # Errors
/// When a file of authorities cannot be read, or there are none at all.
pub(super) fn read(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match trust.is_blind {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Blind(provider))),
        false => builder.with_root_certificates(authorities(&trust.authorities)?),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn authorities(files: &[impl AsRef<Path>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    for file in files {
        let file = file.as_ref();
        let wrong =
            |why: String| format!("cannot read the authorities in {}: {why}", file.display());
        let found = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
        for authority in found {
            let authority = authority.map_err(|e| wrong(e.to_string()))?;
            roots.add(authority).map_err(|e| wrong(e.to_string()))?;
        }
    }
    match roots.is_empty() {
        true => Err("this machine has no certificate authorities: install ca-certificates, or name a file with `ca` in the registry's hosts.toml".to_owned()),
        false => Ok(roots),
    }
}

// === impl Blind ===

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
