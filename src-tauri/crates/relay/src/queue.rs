//! Frames that wait for a client's stream. A game's packet is worth nothing when it is late: where a stream is
//! slower than what comes for it, the oldest data goes first.

use std::collections::VecDeque;

/// What may happen to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// An answer, which the client waits for: never dropped.
    Answer,
    /// Relayed data: dropped when there is newer.
    Data,
}

/// Answers alone fill the queue: the client asks and does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client does not read its answers")]
pub struct Overflow;

/// The queue of one stream.
#[derive(Debug)]
pub struct Queue {
    frames: VecDeque<(Weight, Vec<u8>)>,
    bytes: usize,
    most: usize,
}

impl Queue {
    /// A queue of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Puts a frame at the end. Returns how many older ones were dropped for it; 1 as well where it is dropped
    /// itself because nothing else could be.
    ///
    /// # Errors
    /// [`Overflow`] for an answer that has no room.
    pub fn push(&mut self, weight: Weight, frame: Vec<u8>) -> Result<usize, Overflow> {
        let mut dropped = 0;
        while self.bytes + frame.len() > self.most {
            let oldest = self.frames.iter().position(|(weight, _)| *weight == Weight::Data);
            match oldest.and_then(|at| self.frames.remove(at)) {
                Some((_, old)) => {
                    self.bytes -= old.len();
                    dropped += 1;
                }
                None if weight == Weight::Data => return Ok(dropped + 1),
                None => return Err(Overflow),
            }
        }
        self.bytes += frame.len();
        self.frames.push_back((weight, frame));
        Ok(dropped)
    }

    /// Moves whole frames to the end of `out`, as long as it stays below `room` bytes, the first one in any case.
    pub fn fill(&mut self, out: &mut Vec<u8>, room: usize) {
        while let Some((_, frame)) = self.frames.front() {
            if !out.is_empty() && out.len() + frame.len() > room {
                return;
            }
            self.bytes -= frame.len();
            out.extend_from_slice(frame);
            self.frames.pop_front();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(queue: &mut Queue) -> Vec<u8> {
        let mut out = Vec::new();
        queue.fill(&mut out, usize::MAX);
        out
    }

    #[test]
    fn the_oldest_data_goes_first_and_answers_stay() {
        let mut queue = Queue::new(30);
        assert_eq!(queue.push(Weight::Data, vec![1; 10]), Ok(0));
        assert_eq!(queue.push(Weight::Answer, vec![2; 10]), Ok(0));
        assert_eq!(queue.push(Weight::Data, vec![3; 10]), Ok(0));
        assert_eq!(queue.push(Weight::Data, vec![4; 10]), Ok(1));
        assert_eq!(queue.push(Weight::Answer, vec![5; 10]), Ok(1));
        assert_eq!(drained(&mut queue), [[2; 10], [4; 10], [5; 10]].concat());
        assert!(queue.is_empty());
        assert_eq!(queue.push(Weight::Data, vec![6; 30]), Ok(0), "the room is back");
    }

    #[test]
    fn who_does_not_read_its_answers_is_told_apart() {
        let mut queue = Queue::new(20);
        queue.push(Weight::Answer, vec![1; 10]).unwrap();
        queue.push(Weight::Answer, vec![2; 10]).unwrap();
        assert_eq!(queue.push(Weight::Data, vec![3; 1]), Ok(1));
        assert_eq!(queue.push(Weight::Answer, vec![4; 1]), Err(Overflow));
    }

    #[test]
    fn frames_leave_whole() {
        let mut queue = Queue::new(100);
        for number in 0..4 {
            queue.push(Weight::Data, vec![number; 10]).unwrap();
        }
        let mut out = Vec::new();
        queue.fill(&mut out, 25);
        assert_eq!(out, [[0; 10], [1; 10]].concat());
        out.clear();
        queue.fill(&mut out, 5);
        assert_eq!(out, [2; 10], "a frame longer than the room goes alone");
    }
}
