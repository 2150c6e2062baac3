//! The adapter, routes and notices of change against the real kernel, each test in a network namespace of its
//! own, so that neither the machine's network nor another test is touched.
//!
//! Needs root, or user namespaces and a `/dev/net/tun` that users may open. Without either the tests fail: what
//! they hold can't be held otherwise.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use lanrage_platform::adapter::{Adapter, AdapterConfig, AdapterError, Trouble};
use lanrage_platform::interfaces::{self, HostAddress, Watcher};
use lanrage_platform::poll::{self, Source};
use lanrage_platform::routes::{self, Network};
use lanrage_platform::{rights, udp};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);
/// Long enough never to expire on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `body` in a fresh network namespace by running the test of this name again in one.
fn in_a_namespace(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "LANRAGE_TEST_INSIDE_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rights::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1");
    let output = command.output().expect("`unshare` (util-linux) is needed");
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "in a network namespace ({}; needs root, or user namespaces and access to /dev/net/tun):\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn open() -> Adapter {
    Adapter::open(AdapterConfig::new(OURS)).unwrap()
}

fn named(name: &str) -> Result<Adapter, AdapterError> {
    Adapter::open(AdapterConfig {
        name: Some(name.into()),
        ..AdapterConfig::new(OURS)
    })
}

fn range() -> Network {
    Network::new(OURS, 16)
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("`ip` (iproute2) is needed");
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The next packet the system sends into the adapter.
fn next_packet(adapter: &Adapter) -> Vec<u8> {
    assert!(
        poll::wait(&[adapter.handle()], Some(PATIENCE))
            .unwrap()
            .is_ready(0),
        "no packet came"
    );
    let mut buffer = vec![0; usize::from(adapter.mtu())];
    let length = adapter.read(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// An IPv4 packet with a UDP datagram (RFC 791, RFC 768), the latter without checksum.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(28 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum: u32 = packet
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    for field in [4242, port, length - 20, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

#[test]
fn an_open_adapter_has_address_route_mtu_and_queue() {
    in_a_namespace("an_open_adapter_has_address_route_mtu_and_queue", || {
        let adapter = open();
        assert_eq!(adapter.name(), "lanrage0");
        let expected = HostAddress {
            interface: "lanrage0".into(),
            address: IpAddr::V4(OURS),
            prefix: 16,
        };
        assert_eq!(interfaces::addresses(None).unwrap(), [expected]);
        assert_eq!(interfaces::addresses(Some("lanrage0")).unwrap(), []);

        let clashes = routes::conflicts(range(), None).unwrap();
        assert_eq!(clashes.len(), 1, "{clashes:?}");
        assert_eq!(
            (clashes[0].interface.as_str(), clashes[0].network),
            ("lanrage0", range())
        );
        assert_eq!(routes::conflicts(range(), Some("lanrage0")).unwrap(), []);

        let link = ip(&["-o", "link", "show", "lanrage0"]);
        assert!(
            link.contains("mtu 1280 ") && link.contains("qlen 5000") && link.contains(",UP"),
            "{link}"
        );
        assert_eq!(ip(&["-6", "address", "show", "dev", "lanrage0"]), "");
    });
}

#[test]
fn what_the_system_sends_into_the_range_is_read_and_nothing_else() {
    in_a_namespace(
        "what_the_system_sends_into_the_range_is_read_and_nothing_else",
        || {
            let adapter = open();
            let socket = UdpSocket::bind((OURS, 0)).unwrap();
            socket.send_to(b"hello", (PEER, 7777)).unwrap();
            // The first packet is this one: the device says nothing of its own accord.
            let packet = next_packet(&adapter);
            assert_eq!(packet[0] >> 4, 4);
            assert_eq!(
                (&packet[12..16], &packet[16..20]),
                (&OURS.octets()[..], &PEER.octets()[..])
            );
            assert_eq!(
                (packet[9], &packet[22..24], &packet[28..]),
                (17, &7777u16.to_be_bytes()[..], &b"hello"[..])
            );
            let error = adapter.read(&mut [0; 2000]).unwrap_err();
            assert_eq!(Trouble::of_read(&error), Trouble::NotReady);
        },
    );
}

#[test]
fn written_packets_and_broadcasts_reach_local_sockets() {
    in_a_namespace("written_packets_and_broadcasts_reach_local_sockets", || {
        let adapter = open();
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = socket.local_addr().unwrap().port();
        for to in [OURS, Ipv4Addr::new(10, 66, 255, 255), Ipv4Addr::BROADCAST] {
            let packet = datagram(PEER, to, port, to.to_string().as_bytes());
            assert_eq!(adapter.write(&packet).unwrap(), packet.len());
            let mut buffer = [0; 100];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from, SocketAddr::from((PEER, 4242)));
            assert_eq!(buffer[..length], *to.to_string().as_bytes());
        }
    });
}

#[test]
fn a_taken_name_is_refused_and_the_default_takes_the_first_free() {
    in_a_namespace(
        "a_taken_name_is_refused_and_the_default_takes_the_first_free",
        || {
            let (first, second) = (open(), open());
            assert_eq!((first.name(), second.name()), ("lanrage0", "lanrage1"));
            for name in ["lanrage1", "lo"] {
                match named(name) {
                    Err(AdapterError::Busy { name: told }) => assert_eq!(told, name),
                    other => panic!("{name}: {other:?}"),
                }
            }
            drop(first);
            assert_eq!(open().name(), "lanrage0");
            assert_eq!(named("other").unwrap().name(), "other");
        },
    );
}

#[test]
fn a_dropped_adapter_leaves_no_device_and_no_route() {
    in_a_namespace("a_dropped_adapter_leaves_no_device_and_no_route", || {
        let before = ip(&["-o", "link"]);
        drop(named("mine").unwrap());
        assert_eq!(ip(&["-o", "link"]), before);
        assert_eq!(ip(&["route", "show", "table", "all"]), "");
        assert_eq!(routes::conflicts(range(), None).unwrap(), []);
    });
}

#[test]
fn a_packet_is_dropped_while_the_device_is_down_and_a_deleted_device_is_gone() {
    in_a_namespace(
        "a_packet_is_dropped_while_the_device_is_down_and_a_deleted_device_is_gone",
        || {
            let adapter = open();
            let packet = datagram(PEER, OURS, 9, b"");
            let write = |bytes: &[u8]| Trouble::of_write(&adapter.write(bytes).unwrap_err());
            assert_eq!(write(b"\0not a packet"), Trouble::Dropped);
            ip(&["link", "set", "lanrage0", "down"]);
            assert_eq!(write(&packet), Trouble::Dropped);
            ip(&["link", "set", "lanrage0", "up"]);
            adapter.write(&packet).unwrap();
            ip(&["link", "delete", "lanrage0"]);
            assert_eq!(write(&packet), Trouble::Gone);
            assert!(
                poll::wait(&[adapter.handle()], Some(PATIENCE)).unwrap().any(),
                "the reader is not told"
            );
            assert_eq!(
                Trouble::of_read(&adapter.read(&mut [0; 2000]).unwrap_err()),
                Trouble::Gone
            );
        },
    );
}

#[test]
fn without_the_right_to_it_the_error_says_so() {
    in_a_namespace("without_the_right_to_it_the_error_says_so", || {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        rights::may_create_adapter().unwrap();
        let mut held = capabilities(None).unwrap();
        held.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, held).unwrap();
        assert!(matches!(
            rights::may_create_adapter(),
            Err(AdapterError::NoRights(_))
        ));
        assert!(matches!(
            Adapter::open(AdapterConfig::new(OURS)),
            Err(AdapterError::NoRights(_))
        ));
    });
}

#[test]
fn a_clash_is_told_with_its_interface_whether_by_route_or_by_address() {
    in_a_namespace(
        "a_clash_is_told_with_its_interface_whether_by_route_or_by_address",
        || {
            let inside = AdapterConfig {
                name: Some("vpn".into()),
                prefix: 24,
                ..AdapterConfig::new(Ipv4Addr::new(10, 66, 1, 1))
            };
            let _vpn = Adapter::open(inside).unwrap();
            ip(&["address", "add", "10.66.200.7/32", "dev", "vpn"]);
            ip(&["route", "add", "default", "dev", "vpn"]);
            let told: Vec<_> = routes::conflicts(range(), None)
                .unwrap()
                .into_iter()
                .map(|clash| format!("{} {}", clash.interface, clash.network))
                .collect();
            assert_eq!(told, ["vpn 10.66.1.0/24", "vpn 10.66.200.7/32"]);
            assert_eq!(
                routes::conflicts(Network::new(Ipv4Addr::new(10, 99, 0, 0), 16), None).unwrap(),
                []
            );
        },
    );
}

#[test]
fn a_thread_in_another_namespace_sees_that_namespaces_routes() {
    in_a_namespace(
        "a_thread_in_another_namespace_sees_that_namespaces_routes",
        || {
            let _adapter = open();
            let elsewhere = std::thread::spawn(|| {
                // SAFETY: only CLONE_FILES would take descriptors from other threads.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
                (
                    routes::conflicts(range(), None).unwrap(),
                    interfaces::addresses(None).unwrap(),
                )
            });
            assert_eq!(elsewhere.join().unwrap(), (vec![], vec![]));
            assert_eq!(routes::conflicts(range(), None).unwrap().len(), 1);
        },
    );
}

#[test]
fn a_burst_of_changes_is_told_in_few_words_and_a_cancelled_listener_loses_none() {
    in_a_namespace(
        "a_burst_of_changes_is_told_in_few_words_and_a_cancelled_listener_loses_none",
        || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut watcher = Watcher::new().unwrap();
                let told = async |watcher: &mut Watcher, limit| {
                    tokio::time::timeout(limit, watcher.changed())
                        .await
                        .map(io::Result::unwrap)
                        .is_ok()
                };
                // The kernel reports a link's state up to a second after the rest.
                let quiet = Duration::from_millis(1500);
                assert!(!told(&mut watcher, quiet).await, "told before anything changed");

                let mut adapter = open();
                for _ in 0..20 {
                    drop(adapter);
                    adapter = open();
                }
                assert!(told(&mut watcher, PATIENCE).await, "a new adapter");
                let mut more = 0;
                while told(&mut watcher, quiet).await {
                    more += 1;
                }
                assert!(more <= 3, "a burst was told {more} more times");

                drop(adapter);
                // Shorter than the pause that ends a burst, so the change has been seen when this gives up (unless
                // the machine stood still so long that the pause was over as well).
                let at_once = told(&mut watcher, Duration::from_millis(50)).await;
                assert!(
                    at_once || told(&mut watcher, PATIENCE).await,
                    "a change was lost with its listener"
                );
            });
        },
    );
}

#[test]
fn root_gets_the_whole_udp_buffer() {
    in_a_namespace("root_gets_the_whole_udp_buffer", || {
        let sockets = udp::bind(&udp::PortChoice::Explicit(0)).unwrap();
        let granted = socket2::SockRef::from(&sockets.v4).recv_buffer_size().unwrap();
        // Linux reports twice what was asked for (socket(7)). Root of a user namespace alone may not exceed
        // the machine's limit.
        let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let least = if may_force_buffers() {
            7 << 20
        } else {
            limit.unwrap_or(0).min(7 << 20)
        };
        assert!(granted >= 2 * least, "{granted}");
    });
}

/// CAP_NET_ADMIN in the first user namespace, which maps every user to itself.
fn may_force_buffers() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}
