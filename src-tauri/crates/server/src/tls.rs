//! Certificate and key.

use crate::config::TlsFiles;
use anyhow::{Context, Result, bail};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

/// TURN's name in a TLS handshake (RFC 7443 §3).
pub(crate) const ALPN_TURN: &[u8] = b"stun.turn";

/// What it takes to speak TLS, and under which names.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The DNS names that the certificate is for; a first label may be `*`.
    pub(crate) names: Vec<String>,
}

impl Tls {
    /// Reads both files. With `turn` clients may ask for TURN in the handshake (RFC 7443).
    pub(crate) fn load(files: &TlsFiles, turn: bool) -> Result<Self> {
        let cert = files.cert.display();
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("can't read the certificate {cert}"))?;
        let Some(own) = chain.first() else {
            bail!("no certificate in {cert}");
        };
        let names = EndEntityCert::try_from(own)
            .with_context(|| format!("can't use the certificate {cert}"))?
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .with_context(|| format!("can't read the key {}", files.key.display()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .with_context(|| format!("certificate {cert} and key {} don't fit", files.key.display()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if turn {
            // First, as coturn's clients offer both.
            config.alpn_protocols.insert(0, ALPN_TURN.to_vec());
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            names,
        })
    }

    /// The `host:port` names under which this side of a connection to `port` may have been dialled. The port
    /// 443 too, from which a firewall may forward: TLS has already shown the client whose key this is.
    pub(crate) fn authorities(&self, port: u16) -> impl Iterator<Item = String> {
        self.names
            .iter()
            .flat_map(move |name| [format!("{name}:{port}"), format!("{name}:443")])
    }
}
