//! The system's routes by sysctl(3), as route(4) writes them.

#![allow(unsafe_code)]

use std::io;
use std::ptr::null_mut;

use super::Route;
use super::dump::parse;

/// The table may grow between asking for its size and for itself.
const ATTEMPTS: usize = 4;

pub(super) fn system_routes() -> io::Result<Vec<Route>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let name = |index: u16| {
        interfaces
            .iter()
            .find(|interface| interface.index == Some(u32::from(index)))
            .map_or_else(|| format!("#{index}"), |interface| interface.name.clone())
    };
    Ok(parse(&dump()?, name))
}

fn dump() -> io::Result<Vec<u8>> {
    let mut what = [
        libc::CTL_NET,
        libc::PF_ROUTE,
        0,
        libc::AF_INET,
        libc::NET_RT_DUMP,
        0,
    ];
    for _ in 0..ATTEMPTS {
        let mut length = 0;
        sysctl(&mut what, null_mut(), &mut length)?;
        // Some room for what is added meanwhile.
        let mut buffer = vec![0; length + length / 4 + 1024];
        length = buffer.len();
        match sysctl(&mut what, buffer.as_mut_ptr(), &mut length) {
            Ok(()) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// Reads into `buffer`, which has to have `length` bytes, or be null to learn how many there are.
fn sysctl(what: &mut [libc::c_int; 6], buffer: *mut u8, length: &mut usize) -> io::Result<()> {
    // SAFETY: the name has six parts; the callers, both above, give a null buffer or one of `length` bytes, of which
    // no more are written; nothing is set.
    let answer = unsafe { libc::sysctl(what.as_mut_ptr(), 6, buffer.cast(), length, null_mut(), 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
