//! TURN on a stream (RFC 8656 §12.5): STUN messages and channel data follow each other; channel data is padded to
//! four bytes, which its length does not count.

/// STUN's header and channel data's, bytes.
const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

/// What arrives on a stream, cut into messages.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
}

/// Something that is no TURN: the stream can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay's stream holds something that is not TURN")]
pub(super) struct NotTurn;

impl Incoming {
    /// Takes in what was read.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, without padding.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, NotTurn> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (whole, padded) = match head[0] {
            0x00..=0x3F if length % 4 == 0 => (STUN_HEADER + length, STUN_HEADER + length),
            0x40..=0x7F => (
                CHANNEL_HEADER + length,
                CHANNEL_HEADER + length.next_multiple_of(4),
            ),
            _ => return Err(NotTurn),
        };
        if self.buffer.len() < padded {
            return Ok(None);
        }
        let mut message: Vec<u8> = self.buffer.drain(..padded).collect();
        message.truncate(whole);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel_data(length: usize) -> Vec<u8> {
        let mut message = vec![0x40, 1, (length >> 8) as u8, length as u8];
        message.resize(CHANNEL_HEADER + length, 7);
        message
    }

    fn stun(length: usize) -> Vec<u8> {
        let mut message = vec![0, 1, (length >> 8) as u8, length as u8];
        message.resize(STUN_HEADER + length, 9);
        message
    }

    #[test]
    fn messages_survive_any_cutting_of_the_stream() {
        let messages: Vec<Vec<u8>> = (0..40)
            .map(|n| {
                if n % 3 == 0 {
                    stun(n * 4)
                } else {
                    channel_data(n * 7)
                }
            })
            .collect();
        let mut stream = Vec::new();
        for message in &messages {
            let mut message = message.clone();
            message.resize(message.len().next_multiple_of(4), 0);
            stream.extend(message);
        }
        for step in [1, 3, 19, 1000] {
            let mut incoming = Incoming::default();
            let mut read = Vec::new();
            for piece in stream.chunks(step) {
                incoming.fill(piece);
                while let Some(message) = incoming.next().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, messages);
        }
    }

    #[test]
    fn a_stream_of_something_else_is_not_read_on() {
        for first in [0x80, 0xFF] {
            let mut incoming = Incoming::default();
            incoming.fill(&[first, 0, 0, 0]);
            assert_eq!(incoming.next(), Err(NotTurn));
        }
        let mut crooked = Incoming::default();
        crooked.fill(&[0, 1, 0, 3]);
        assert_eq!(crooked.next(), Err(NotTurn));
    }
}
