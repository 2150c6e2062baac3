use super::*;
use proptest::prelude::*;

const ID: TransactionId = *b"twelve bytes";

/// An answer written byte by byte, as a check on the library.
pub(crate) fn written(id: TransactionId, kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, value) in attributes {
        body.extend(number.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((body.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xA4, 0x42]);
    message.extend(id);
    message.extend(body);
    message
}

pub(crate) fn plain(at: SocketAddr) -> Vec<u8> {
    let mut value = vec![0, if at.is_ipv4() { 1 } else { 2 }];
    value.extend(at.port().to_be_bytes());
    match at.ip() {
        std::net::IpAddr::V4(ip) => value.extend(ip.octets()),
        std::net::IpAddr::V6(ip) => value.extend(ip.octets()),
    }
    value
}

pub(crate) fn xored(at: SocketAddr, id: TransactionId) -> Vec<u8> {
    let mask = [&[0, 0, 0x21, 0x12, 0x21, 0x12, 0xA4, 0x42][..], &id].concat();
    plain(at)
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn requests_are_what_the_rfcs_say() {
    let header = |length: u8| [&[0, 1, 0, length, 0x21, 0x12, 0xA4, 0x42][..], &ID].concat();
    assert_eq!(request(ID, Change::Nothing), header(0));
    let with = |flags| [&header(8)[..], &[0, 3, 0, 4, 0, 0, 0, flags]].concat();
    assert_eq!(request(ID, Change::Port), with(2));
    assert_eq!(request(ID, Change::Both), with(6));
    assert_eq!(transaction_of(&request(ID, Change::Both)), Some(ID));
    assert_eq!(transaction_of(&[0; 19]), None);
}

#[test]
fn answers_of_both_families_are_read() {
    for (mapped, origin, other) in [
        ("203.0.113.7:40000", "198.51.100.1:3478", "198.51.100.2:3479"),
        (
            "[2001:db8::7]:40000",
            "[2001:db8:1::1]:3478",
            "[2001:db8:2::1]:3479",
        ),
    ] {
        let [mapped, origin, other] = [mapped, origin, other].map(at);
        let attributes = [
            (0x0020, xored(mapped, ID)),
            (0x802B, plain(origin)),
            (0x802C, plain(other)),
            // SOFTWARE, which nobody needs.
            (0x8022, b"server".to_vec()),
        ];
        let read = answer(&written(ID, 0x0101, &attributes)).unwrap();
        assert_eq!(
            read,
            Answer {
                mapped: Some(mapped),
                origin: Some(origin),
                other: Some(other),
                error: None
            }
        );
    }
    let refusal = written(
        ID,
        0x0111,
        &[(9, [&[0, 0, 4, 20][..], b"Unknown Attribute"].concat())],
    );
    assert_eq!(answer(&refusal).unwrap().error, Some(420));
}

#[test]
fn a_fingerprint_is_optional_but_not_wrong() {
    // RFC 5769 §2.2's answer, without its integrity, which nobody here has the key of.
    let good = [
        0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
        0x87, 0xdf, 0xae, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
    ];
    assert_eq!(answer(&good).unwrap().mapped, Some(at("192.0.2.1:32853")));
    let crc = |bytes: &[u8]| {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1));
            }
        }
        !crc ^ 0x5354_554E
    };
    let mut marked = good.to_vec();
    marked[3] = 0x14;
    let fingerprint = crc(&marked);
    marked.extend([0x80, 0x28, 0, 4]);
    marked.extend(fingerprint.to_be_bytes());
    assert_eq!(answer(&marked).unwrap().mapped, Some(at("192.0.2.1:32853")));
    if let Some(last) = marked.last_mut() {
        *last ^= 1;
    }
    assert_eq!(answer(&marked), None);
}

#[test]
fn what_is_no_answer_is_not_read_as_one() {
    assert_eq!(answer(&request(ID, Change::Nothing)), None, "a request");
    let mapped = (0x0020, xored(at("192.0.2.1:1"), ID));
    assert_eq!(
        answer(&written(ID, 0x0103, std::slice::from_ref(&mapped))),
        None,
        "to an Allocate"
    );
    assert_eq!(
        answer(&written(ID, 0x0011, std::slice::from_ref(&mapped))),
        None,
        "an indication"
    );
    let mut longer = written(ID, 0x0101, &[mapped]);
    longer.extend([0; 4]);
    assert_eq!(answer(&longer), None, "something behind it");
    assert_eq!(
        answer(&written(ID, 0x0101, &[(0x8022, vec![b'x'; 600])])),
        None,
        "too long"
    );
}

proptest! {
    /// Strangers can send what they like.
    #[test]
    fn nothing_that_arrives_breaks_the_reading(
        attributes in proptest::collection::vec((0u16..0x40, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        optional in proptest::collection::vec((0x8020u16..0x8030, proptest::collection::vec(any::<u8>(), 0..40)), 0..4),
        kind in 0u16..0x0400,
        cut in 0usize..300,
    ) {
        let mut message = written(ID, kind, &[attributes, optional].concat());
        let _ = answer(&message);
        message.truncate(cut);
        let _ = answer(&message);
    }

    #[test]
    fn noise_breaks_nothing_either(mut noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer(&noise);
        if let Some(head) = noise.first_chunk_mut::<8>() {
            *head = [1, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        }
        if let (length, Some(at)) = (noise.len().saturating_sub(20) as u8, noise.get_mut(3)) {
            *at = length;
        }
        let _ = answer(&noise);
    }
}
