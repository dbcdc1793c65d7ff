//! Bytes whose place can be told from their value, for transfers that must be
//! byte-exact. `apps/pattern.py` makes the same ones.
//!
//! A block whose length is a prime number repeats: a piece that is lost,
//! doubled or moved by any power of two shows at the next byte.

use std::sync::LazyLock;

/// Length of the block.
pub const BLOCK: usize = 65_521;

/// Two blocks, so that any offset has a whole block after it.
static BLOCKS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state: u32 = 1;
    let mut block: Vec<u8> = (0..BLOCK)
        .map(|_| {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (state >> 16).to_le_bytes()[0]
        })
        .collect();
    block.extend_from_within(..);
    block
});

/// The bytes from `offset` on, at most `len` and at most one block.
#[must_use]
pub fn piece(offset: u64, len: u64) -> &'static [u8] {
    let start = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
    let len = usize::try_from(len).unwrap_or(BLOCK).min(BLOCK);
    &BLOCKS[start..start + len]
}

/// Compares a stream with the pattern as it arrives.
#[derive(Debug, Default)]
pub struct Checker {
    /// Bytes seen.
    pub len: u64,
    /// Where the first wrong byte was, if any.
    pub wrong_at: Option<u64>,
}

impl Checker {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = piece(self.len, bytes.len() as u64);
            let (head, rest) = bytes.split_at(expected.len());
            if self.wrong_at.is_none() && head != expected {
                let at = head
                    .iter()
                    .zip(expected)
                    .position(|(got, want)| got != want)
                    .unwrap_or(0);
                self.wrong_at = Some(self.len + at as u64);
            }
            self.len += head.len() as u64;
            bytes = rest;
        }
    }

    /// Asserts that exactly `len` bytes came and all were right.
    ///
    /// # Panics
    /// If not.
    pub fn assert_exact(&self, len: u64) {
        assert_eq!(self.wrong_at, None, "the byte at this offset is wrong");
        assert_eq!(self.len, len, "the length is wrong");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_byte_shows() {
        let mut whole = Checker::default();
        whole.feed(piece(0, 1000));
        whole.feed(piece(1000, 60_000));
        whole.assert_exact(61_000);

        let mut holed = Checker::default();
        holed.feed(piece(0, 1000));
        holed.feed(piece(1001, 60_000));
        assert!(holed.wrong_at.is_some_and(|at| at >= 1000));
    }
}
