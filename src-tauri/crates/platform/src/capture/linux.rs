//! A packet socket and its filter (BPF, kernel's Documentation/networking/filter.rst).

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockFilter, Type};

use super::Own;
use crate::poll::Handle;

/// ETH_P_ALL (linux/if_ether.h): only who asks for everything is shown what leaves.
const EVERYTHING: u16 = 3;
/// ETH_P_IP.
const IPV4: u32 = 0x0800;
const UDP: u32 = 17;
/// IPv4 with a header of five words: without options.
const PLAIN: u32 = 0x45;
/// More fragments follow, or this one is not the first (RFC 791 §3.1).
const FRAGMENT: u32 = 0x3fff;

/// Packets that wait to be read, with what the kernel keeps of each: some hundred announces. Games send tens a second.
const BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Socket(socket2::Socket);

impl Socket {
    pub(super) fn open(own: &[Own], except: u32) -> io::Result<Self> {
        // A datagram socket leaves the link's own header out, whatever the link is.
        let protocol = Protocol::from(i32::from(EVERYTHING.to_be()));
        let socket = socket2::Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(protocol))?;
        socket.set_recv_buffer_size(BUFFER)?;
        // Between its making and its filter it took whatever passed. Let nothing in, throw that away, then begin.
        socket.attach_filter(&[returns(0)])?;
        while (&socket).read(&mut [0; 1]).is_ok() {}
        socket.attach_filter(&filter(own, except))?;
        Ok(Self(socket))
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    pub(super) fn handle(&self) -> Handle<'_> {
        self.0.as_fd()
    }
}

/// A condition on the packet: what to load, how to look at it, and what it has to be.
struct Check {
    load: SockFilter,
    mask: Option<u32>,
    /// One of these.
    values: Vec<u32>,
}

/// The program: each check in turn, and the packet is dropped by the first that fails.
fn filter(own: &[Own], except: u32) -> Vec<SockFilter> {
    let number = |address: Ipv4Addr| u32::from(address);
    let sources = own.iter().map(|own| number(own.address)).collect();
    let broadcasts = own.iter().filter_map(Own::broadcast).map(number);
    let destinations = [number(Ipv4Addr::BROADCAST)].into_iter().chain(broadcasts);
    let checks = [
        plain(extra(libc::SKF_AD_PKTTYPE), u32::from(libc::PACKET_OUTGOING)),
        plain(extra(libc::SKF_AD_PROTOCOL), IPV4),
        plain(byte(0), PLAIN),
        plain(byte(9), UDP),
        Check {
            load: half(6),
            mask: Some(FRAGMENT),
            values: vec![0],
        },
        Check {
            load: word(12),
            mask: None,
            values: sources,
        },
    ];
    let mut program = vec![
        extra(libc::SKF_AD_IFINDEX),
        jump(libc::BPF_JEQ, except, 0, 1),
        returns(0),
    ];
    for check in checks {
        program.push(check.load);
        program.extend(check.mask.map(and));
        program.extend(one_of(&check.values));
    }
    // Multicast is 224.0.0.0/4.
    program.extend([
        word(16),
        and(0xf000_0000),
        jump(libc::BPF_JEQ, 0xe000_0000, 0, 1),
        returns(u32::MAX),
        word(16),
    ]);
    program.extend(one_of(&destinations.collect::<Vec<_>>()));
    program.push(returns(u32::MAX));
    program
}

/// Goes on when what was loaded is one of `values`, of which there are fewer than a jump reaches over.
fn one_of(values: &[u32]) -> Vec<SockFilter> {
    let count = values.len();
    let mut program: Vec<SockFilter> = values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            // Over the rest of the values and the end below.
            let over = u8::try_from(count - at).unwrap_or(u8::MAX);
            jump(libc::BPF_JEQ, *value, over, 0)
        })
        .collect();
    program.push(returns(0));
    program
}

fn plain(load: SockFilter, value: u32) -> Check {
    Check {
        load,
        mask: None,
        values: vec![value],
    }
}

fn load(size: u32, mode: u32, at: u32) -> SockFilter {
    SockFilter::new((libc::BPF_LD | size | mode) as u16, 0, 0, at)
}

/// What the kernel knows of the packet besides its bytes.
fn extra(what: i32) -> SockFilter {
    load(
        libc::BPF_W,
        libc::BPF_ABS,
        (libc::SKF_AD_OFF + what).cast_unsigned(),
    )
}

fn byte(at: u32) -> SockFilter {
    load(libc::BPF_B, libc::BPF_ABS, at)
}

fn half(at: u32) -> SockFilter {
    load(libc::BPF_H, libc::BPF_ABS, at)
}

fn word(at: u32) -> SockFilter {
    load(libc::BPF_W, libc::BPF_ABS, at)
}

fn and(mask: u32) -> SockFilter {
    SockFilter::new((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, 0, 0, mask)
}

fn jump(test: u32, value: u32, if_so: u8, if_not: u8) -> SockFilter {
    SockFilter::new((libc::BPF_JMP | test | libc::BPF_K) as u16, if_so, if_not, value)
}

/// Ends with so many bytes of the packet, all of it at most.
fn returns(bytes: u32) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes)
}
