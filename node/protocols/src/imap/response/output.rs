//! Bytes on their way to the client.

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::imap::types::Dialect;

/// From this size on, bytes are passed on as they are; below it, copying them into the next write is cheaper.
const SHARE_BYTES: usize = 4 * 1024;

/// The responses that are not sent yet, in order.
#[derive(Debug, Default)]
pub struct Output {
    full: VecDeque<Bytes>,
    tail: BytesMut,
    /// What `full` holds, in bytes.
    full_bytes: usize,
    dialect: Dialect,
}

impl Output {
    /// How much waits to be sent, in bytes.
    pub fn len(&self) -> usize {
        self.full_bytes + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece to send, taken out. The machine does this after each event; a role does it when it has much to
    /// say.
    pub fn take(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.full.pop_front() {
            self.full_bytes -= bytes.len();
            return Some(bytes);
        }
        (!self.tail.is_empty()).then(|| self.tail.split().freeze())
    }

    /// Gives up the memory that is kept for the next response, when the connection falls silent.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self { dialect: self.dialect, ..Self::default() };
        }
    }

    /// How the client reads.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The client has agreed on another way of speaking.
    pub fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    pub(crate) fn put_byte(&mut self, byte: u8) {
        self.tail.put_u8(byte);
    }

    /// Passes large bytes on without copying them.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SHARE_BYTES {
            return self.put(&bytes);
        }
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.full_bytes += tail.len();
            self.full.push_back(tail);
        }
        self.full_bytes += bytes.len();
        self.full.push_back(bytes);
    }

    /// Writes what cannot hold a line's end: numbers, names of ours, sets.
    pub(crate) fn put_display(&mut self, value: impl fmt::Display) {
        use fmt::Write as _;
        // Writing to memory does not fail.
        let _ = write!(self.tail, "{value}");
    }

    pub(crate) fn put_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(&digits[start..]);
    }

    pub(crate) fn end_line(&mut self) {
        self.put(b"\r\n");
    }

    /// All that waits, in one piece: copied when it holds large bytes that were passed on.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.full.is_empty() {
            return self.tail.freeze();
        }
        let mut all = BytesMut::with_capacity(self.len());
        while let Some(bytes) = self.take() {
            all.extend_from_slice(&bytes);
        }
        all.freeze()
    }

    /// All that waits, as text.
    #[cfg(test)]
    pub(crate) fn drain(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(self).into_bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_large_bytes_are_not_copied() {
        let mut output = Output::default();
        let large = Bytes::from(vec![b'x'; SHARE_BYTES]);
        output.put(b"a");
        output.share(Bytes::from_static(b"b"));
        output.share(large.clone());
        output.put(b"c");
        assert_eq!(output.len(), SHARE_BYTES + 3);
        assert_eq!(output.take().unwrap(), "ab");
        assert_eq!(output.take().unwrap().as_ptr(), large.as_ptr());
        assert_eq!(output.take().unwrap(), "c");
        assert_eq!((output.take(), output.len()), (None, 0));
    }

    #[test]
    fn numbers() {
        let mut output = Output::default();
        for number in [0, 7, 10, 4_294_967_295, u64::MAX] {
            output.put_number(number);
            output.put_byte(b' ');
        }
        assert_eq!(output.drain(), "0 7 10 4294967295 18446744073709551615 ");
    }
}
