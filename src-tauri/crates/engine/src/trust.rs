//! Which certificates a control plane may show.

use lanrage_proto::{Fault, FaultCode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// A file that is larger holds more than a few certificates.
const LIMIT: u64 = 1024 * 1024;

/// The public roots, and the certificates of the file given: as authorities, and as servers' own.
///
/// # Errors
/// `control_untrusted` when the file can't be read or holds no certificate.
pub(crate) fn client_config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let own = match extra {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    for certificate in &own {
        // A server's own certificate need not be one that could sign others.
        if let Err(error) = roots.add(certificate.clone()) {
            tracing::debug!(%error, "a certificate is trusted for its own server alone");
        }
    }
    let refused =
        |error: &dyn std::fmt::Display| Fault::new(FaultCode::ControlUntrusted).with("reason", error);
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| refused(&error))?;
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnOrAuthorised {
            own,
            authorities,
            provider,
        }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let refused = |reason: String| {
        Fault::new(FaultCode::ControlUntrusted).with("reason", format!("{}: {reason}", path.display()))
    };
    let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if metadata.len() > LIMIT {
        return Err(refused("too large for certificates".to_owned()));
    }
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| refused(error.to_string()))?;
    if found.is_empty() {
        return Err(refused("it holds no certificate".to_owned()));
    }
    Ok(found)
}

/// Accepts a certificate that is, byte for byte, one of those the player gave, whatever name or dates stand in
/// it: only that server has its key. For all others the authorities decide as usual.
#[derive(Debug)]
struct OwnOrAuthorised {
    own: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OwnOrAuthorised {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.iter().any(|own| own == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_roots_alone_make_a_configuration() {
        assert!(client_config(None).is_ok());
    }

    #[test]
    fn files_without_certificates_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        for content in [
            "",
            "not a certificate",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            let fault = client_config(Some(&path)).unwrap_err();
            assert_eq!(fault.code, FaultCode::ControlUntrusted);
            assert!(fault.details["reason"].contains("ca.pem"));
        }
        assert!(client_config(Some(&dir.path().join("none"))).is_err());
    }
}
