//! What every protocol machine has in common with the one loop that drives it.
//!
//! Invariants that a machine keeps:
//! - it never panics, whatever it is fed, in pieces of whatever size;
//! - it never buffers more than its own bound: before [`Step::Read`] it has consumed or refused what it held, and the
//!   driver never feeds more than [`READ_BYTES`] between two reads;
//! - after [`Step::Close`] it gives nothing but `Close`.

use bytes::Bytes;

/// The most that a driver feeds at once, in bytes.
pub const READ_BYTES: usize = 16 * 1024;

/// What the machine wants done next. The driver asks again after each step, until a `Read` has to wait for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<E> {
    /// Nothing can be done before the peer has sent more; what was written so far must reach it first.
    Read,
    /// Send these bytes. The driver may gather several writes into one.
    Write(Bytes),
    /// Something for the role to decide or carry out. The role answers by calling a method of the machine
    /// (which one, the event's documentation says) before the machine is asked for its next step.
    Event(E),
    /// Send what was written, then begin a TLS handshake on this stream and call [`Machine::secured`].
    /// Bytes that came in clear text behind the command were dropped or refused by the machine (no injection).
    StartTls,
    /// Send what was written, then go on compressed by DEFLATE in both directions, what [`Machine::take_unread`] gives
    /// included, and call [`Machine::compressed`].
    Compress,
    /// Send what was written, then close.
    Close,
}

/// A protocol as a state machine without I/O.
pub trait Machine: Send {
    /// What the machine leaves to its role.
    type Event: Send;

    /// Takes bytes from the peer, at most [`READ_BYTES`] at once.
    fn receive(&mut self, bytes: &[u8]);

    /// The peer has closed its sending side: nothing more will come.
    fn end(&mut self);

    /// The TLS handshake that [`Step::StartTls`] asked for is complete.
    fn secured(&mut self);

    /// The compression that [`Step::Compress`] asked for is on.
    fn compressed(&mut self) {}

    /// The next thing to do.
    fn next(&mut self) -> Step<Self::Event>;

    /// The driver wants to end the conversation. For [`Farewell::Draining`] the machine finishes what is running (a
    /// command, a message being received, a literal) and then says goodbye in the protocol's own words and closes; for
    /// the others it does so at once.
    fn farewell(&mut self, why: Farewell);

    /// Gives back the bytes that were received and not consumed, when the stream is handed over to another machine.
    fn take_unread(&mut self) -> Bytes;
}

/// Why the driver ends a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The node is draining: the peer should connect again, to another node.
    Draining,
    /// The peer said nothing for longer than the protocol's time-out.
    Idle,
    /// Something failed on our side and the state of the conversation can no longer be trusted.
    Internal,
}
