//! Frames on TCP and TLS (RFC 8656 §12.5): STUN messages as they are, ChannelData padded to four bytes.

use crate::wire::{CHANNEL_HEADER, COOKIE, Form, HEADER};

/// What came is neither; the stream can't be understood any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither STUN nor ChannelData")]
pub struct NotTurn;

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where the first frame that was not handed out begins.
    start: usize,
}

impl Framer {
    /// Takes what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, with its padding.
    ///
    /// # Errors
    /// When no frame begins here.
    pub fn frame(&mut self) -> Result<Option<&[u8]>, NotTurn> {
        let rest = &self.buffer[self.start..];
        let Some(length) = frame_length(rest)? else {
            return Ok(None);
        };
        if rest.len() < length {
            return Ok(None);
        }
        let begin = self.start;
        self.start += length;
        Ok(Some(&self.buffer[begin..self.start]))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// How long the frame is that begins with these bytes; none while they don't say.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, NotTurn> {
    let Some(first) = bytes.first() else {
        return Ok(None);
    };
    let form = Form::of(*first);
    if form == Form::Other {
        return Err(NotTurn);
    }
    let Some(head) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if form == Form::Channel {
        return Ok(Some(CHANNEL_HEADER + length.next_multiple_of(4)));
    }
    let cookie = &bytes[4..bytes.len().min(8)];
    if !COOKIE.starts_with(cookie) || !length.is_multiple_of(4) {
        return Err(NotTurn);
    }
    Ok(Some(HEADER + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| framer.frame().unwrap().map(<[u8]>::to_vec)).collect()
    }

    fn message(length: u16) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(length.to_be_bytes());
        message.extend(COOKIE);
        message.extend([7; 12]);
        message.extend(vec![9; usize::from(length)]);
        message
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let channel = [&[0x40, 1, 0, 5][..], b"hello\0\0\0"].concat();
        let empty = vec![0x40, 2, 0, 0];
        let all = [message(0), channel.clone(), empty.clone(), message(8)];
        let stream = all.concat();
        for cut in 1..stream.len() {
            let mut framer = Framer::default();
            let mut seen = Vec::new();
            for part in stream.chunks(cut) {
                framer.push(part);
                seen.extend(frames(&mut framer));
            }
            assert_eq!(seen, all, "cut every {cut} bytes");
            assert_eq!(framer.waiting(), 0);
        }
    }

    #[test]
    fn anything_else_ends_the_stream() {
        let mut message = message(0);
        message[5] = 0;
        for wrong in [
            &b"\x80"[..],
            b"\xff\xff",
            &message,
            &[0, 1, 0, 2, 0x21, 0x12, 0xa4, 0x42],
        ] {
            let mut framer = Framer::default();
            framer.push(wrong);
            assert_eq!(framer.frame(), Err(NotTurn), "{wrong:?}");
        }
    }
}
