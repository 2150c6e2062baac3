//! The server with a certificate of its own.

use crate::client::{Client, PATIENCE, Person, fault, settings};
use lanrage_proto::FaultCode;
use lanrage_proto::control::{PATH, ServerMessage};
use lanrage_server::{Server, Settings};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

fn certificate(folder: &Path, names: &[&str]) -> CertificateDer<'static> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn tls_settings(folder: &Path) -> Settings {
    let file = |name: &str| folder.join(name).display().to_string();
    settings(&["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")])
}

async fn dial(address: SocketAddr, root: &CertificateDer<'static>, name: &str) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name_to_verify = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name_to_verify, stream)
        .await?;
    Ok(Client::over(
        Box::new(stream),
        &format!("wss://{name}:{}{PATH}", address.port()),
    )
    .await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_in_the_certificate_are_the_servers_names() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["party.example.org", "*.lan.example.org"];
    let root = certificate(folder.path(), &names);
    let server = Server::start(tls_settings(folder.path())).await.unwrap();
    let port = server.address().port();
    let founder = Person::new(1);
    for (name, authority, ours) in [
        ("party.example.org", format!("party.example.org:{port}"), true),
        ("party.example.org", "Party.Example.org:443".to_owned(), true),
        ("a.lan.example.org", format!("a.lan.example.org:{port}"), true),
        ("party.example.org", "party.example.org:444".to_owned(), false),
        ("party.example.org", "evil.example.org:443".to_owned(), false),
    ] {
        let mut client = dial(server.address(), &root, name).await.unwrap();
        let answer = client.prove(&founder, &founder.party_id(), &authority).await;
        if ours {
            assert!(
                matches!(answer, ServerMessage::Welcome { .. }),
                "{authority}: {answer:?}"
            );
        } else {
            assert_eq!(answer, fault(FaultCode::NotAdmitted), "{authority}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_words_to_a_tls_port_end_there() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), &["party.example.org"]);
    let server = Server::start(tls_settings(folder.path())).await.unwrap();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path(), &["party.example.org"]);
    let server = Server::start(tls_settings(folder.path())).await.unwrap();
    let second = certificate(folder.path(), &["party.example.org"]);
    dial(server.address(), &first, "party.example.org")
        .await
        .map(drop)
        .unwrap();
    server.reload_tls().unwrap();
    dial(server.address(), &second, "party.example.org")
        .await
        .map(drop)
        .unwrap();
    assert!(dial(server.address(), &first, "party.example.org").await.is_err());
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    server.reload_tls().unwrap_err();
    dial(server.address(), &second, "party.example.org")
        .await
        .map(drop)
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), &["party.example.org"]);
    let key = std::fs::read(folder.path().join("key.pem")).unwrap();
    certificate(folder.path(), &["party.example.org"]);
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let error = format!(
        "{:#}",
        Server::start(tls_settings(folder.path())).await.unwrap_err()
    );
    assert!(
        error.contains("cert.pem") && error.contains("don't fit"),
        "{error}"
    );
    std::fs::remove_file(folder.path().join("cert.pem")).unwrap();
    let error = format!(
        "{:#}",
        Server::start(tls_settings(folder.path())).await.unwrap_err()
    );
    assert!(error.contains("cert.pem"), "{error}");
}
