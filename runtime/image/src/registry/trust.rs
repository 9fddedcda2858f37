//! Whom we believe: the system's authorities, those of files, or anybody where settings say so.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::target::Trust;

/// Judges who servers say they are. That they have the keys of their certificates is held against
/// their signatures, whoever they are.
#[derive(Debug)]
struct Judge {
    believed: Believed,
    provider: Arc<CryptoProvider>,
}

/// Who is believed.
#[derive(Debug)]
enum Believed {
    /// Anybody, whichever certificate they show: `skip_verify`.
    Anybody,
    /// Who shows what authorities have signed, and a server whose certificate is itself one of them:
    /// the usual one that signs itself, which says of itself that it is an authority.
    Rooted {
        authorities: Arc<WebPkiServerVerifier>,
        themselves: Vec<CertificateDer<'static>>,
    },
}

/// What connections are made with. Reads files: not to be called where tasks run.
///
/// # Errors
/// When a file of authorities cannot be read, or there are none at all.
pub(super) fn read(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let believed = match trust.is_blind {
        true => Believed::Anybody,
        false => Believed::rooted(authorities(&trust.authorities)?, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge { believed, provider }));
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn authorities(files: &[impl AsRef<Path>]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = RootCertStore::empty();
    let mut all = rustls_native_certs::load_native_certs().certs;
    // Some of a system's may be of no use; those of files have to be.
    all.retain(|authority| roots.add(authority.clone()).is_ok());
    for file in files {
        let file = file.as_ref();
        let wrong =
            |why: String| format!("cannot read the authorities in {}: {why}", file.display());
        let found = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
        for authority in found {
            let authority = authority.map_err(|e| wrong(e.to_string()))?;
            let added = roots.add(authority.clone());
            added.map_err(|e| wrong(e.to_string()))?;
            all.push(authority);
        }
    }
    match all.is_empty() {
        true => Err("this machine has no certificate authorities: install ca-certificates, or name a file with `ca` in the registry's hosts.toml".to_owned()),
        false => Ok(all),
    }
}

/// Whether nothing is wrong with a certificate but that it calls itself an authority: dates are
/// looked at before.
pub(super) fn is_only_an_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(error)) = error else {
        return false;
    };
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

// === impl Believed ===

impl Believed {
    fn rooted(
        themselves: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(themselves.iter().cloned());
        let provider = Arc::clone(provider);
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Self::Rooted {
            authorities: builder.build().map_err(|error| error.to_string())?,
            themselves,
        })
    }
}

// === impl Judge ===

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Believed::Rooted {
            authorities,
            themselves,
        } = &self.believed
        else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = authorities.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(error) if is_only_an_authority(&error) && themselves.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::certificate::told;
    use crate::registry::target::Url;

    /// `openssl req -x509`: signs itself, for localhost and 127.0.0.1, from 2026 on for 100 years.
    const OWN: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUfYkwpiOXWUIk4qlrvAXB2SOCNFIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDIzMTkxNVoYDzIxMjYxMTA2
MjMxOTE1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAToXiDzuC3oR5jO1z2UmxYqbnJazQURN241r2RmJaEK8fbZR/AtYk7W
lD2wENO1jY4Nf0Q0NxTsJoXCD+CsayyZo28wbTAdBgNVHQ4EFgQU+cZImlRQzyE5
7UfGFXS2a+3VulAwHwYDVR0jBBgwFoAU+cZImlRQzyE57UfGFXS2a+3VulAwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAOk/R233GbaMPfjbMxafpP3Hzf0eXBWVpNpVJvBHhRg6AiBA
Khx0wisUU10ljlD4gfOt4yBF/aWnouVlnGxmMJmlEQ==
-----END CERTIFICATE-----
";

    /// The same of somebody else.
    const OTHER: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUUbOOKokixJELyVMxUgGm5Ys5lUkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDIzMTkxNVoYDzIxMjYxMTA2
MjMxOTE1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATwRTg6TC1v7KOncS06LnwHIgcE8ci9VR1/dtGkmIYBzBPtpKTiZMhs
SvzL/wU2PKEmX3OWifKwiocBezTYVlW4o28wbTAdBgNVHQ4EFgQUR0XGsyOXG2XC
ShByWlEUDbxRhuQwHwYDVR0jBBgwFoAUR0XGsyOXG2XCShByWlEUDbxRhuQwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgezioBeHX6Uz+LXn0uHvHChtuEYi3uOxSCUXm8+TfqjkCIQCp
0W8Lm2KCUSpT9STzsMZctohrYMj6K2y6/QvTRtqeng==
-----END CERTIFICATE-----
";

    #[test]
    fn a_certificate_that_signs_itself_is_its_servers_where_it_is_named() {
        let read = |pem| CertificateDer::from_pem_slice(pem).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let believed = Believed::rooted(vec![read(OWN)], &provider).expect("a verifier");
        let judge = Judge { believed, provider };
        let day = Duration::from_secs(86_400);
        let (before, within, after) = (day * 365 * 40, day * 365 * 60, day * 365 * 170);
        let cases = [
            (OWN, "localhost", within, None),
            (OWN, "127.0.0.1", within, None),
            (
                OWN,
                "other.example",
                within,
                Some("not for other.example but for localhost, 127.0.0.1"),
            ),
            (OWN, "localhost", before, Some("not valid yet before 2026-")),
            (OWN, "localhost", after, Some("any more since 2126-")),
            (OTHER, "localhost", within, Some("an authority's own")),
        ];
        for (certificate, name, now, wanted) in cases {
            let server = ServerName::try_from(name).expect("a name");
            let now = UnixTime::since_unix_epoch(now);
            let found = judge.verify_server_cert(&read(certificate), &[], &server, &[], now);
            let url = Url::parse(&format!("https://{name}/")).expect("a URL");
            let told = found.err().and_then(|error| told(&error, &url.target));
            let (text, wanted) = (told.unwrap_or_default(), wanted.unwrap_or_default());
            assert_eq!(text.is_empty(), wanted.is_empty(), "{name} {now:?}: {text}");
            assert!(text.contains(wanted), "{name} {now:?}: {text}");
        }
    }
}
