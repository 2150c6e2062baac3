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
use tokio_rustls::client::TlsStream;

pub(crate) fn certificate(folder: &Path, names: &[&str]) -> CertificateDer<'static> {
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

async fn connect(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name_to_verify = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name_to_verify, stream)
        .await
}

async fn dial(address: SocketAddr, root: &CertificateDer<'static>, name: &str) -> std::io::Result<Client> {
    let stream = connect(address, root, name, &[]).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn turn_shares_the_port_by_name_or_by_its_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let root = certificate(folder.path(), &["party.example.org"]);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let args = ["--tls-cert", &cert, "--tls-key", &key, "--stun", "127.0.0.1:0"];
    let server = Server::start(settings(&args)).await.unwrap();
    let binding = crate::turn::request(stun_rs::methods::BINDING, &[]);
    for (offered, agreed) in [
        (&[][..], None),
        (&["stun.turn"][..], Some("stun.turn")),
        (&["http/1.1", "stun.turn"][..], Some("stun.turn")),
        // Whatever it called itself.
        (&["http/1.1"][..], Some("http/1.1")),
    ] {
        let mut stream = connect(server.address(), &root, "party.example.org", offered)
            .await
            .unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
        let answer = crate::turn::ask(&mut stream, &binding).await;
        assert_eq!(
            answer.class(),
            stun_rs::MessageClass::SuccessResponse,
            "{offered:?}"
        );
    }
    let founder = Person::new(1);
    let mut client = dial(server.address(), &root, "party.example.org").await.unwrap();
    let port = server.address().port();
    let answer = client
        .prove(
            &founder,
            &founder.party_id(),
            &format!("party.example.org:{port}"),
        )
        .await;
    assert!(matches!(answer, ServerMessage::Welcome { .. }), "{answer:?}");
    let founding = founder.word(0);
    match client
        .ask(lanrage_proto::control::Request::RegisterParty { founding })
        .await
    {
        ServerMessage::Party { relays, .. } => {
            let uri = format!("turns:party.example.org:{port}");
            assert!(relays.iter().any(|relay| relay.uri == uri), "{relays:?}");
        }
        other => panic!("{other:?}"),
    }
    server.stop().await;
}
