//! An account's mail on its way to another store group, on either side.
//!
//! The side that it leaves decides, in its own database, and only there. It says `moving`: from then on nobody writes, and what is
//! left is read. Then `gone`, for one attempt: that is the moment of the move. Until then it may say `present` again, and the
//! attempt is void; from then on it never serves the account nor makes it anew, unless the account comes back.
//!
//! The side that it comes to has it as `moving` until the other says `gone`, then as `present`. An account that is not `present` is
//! refused to everybody by [`StoreError::Moving`] or [`StoreError::Gone`].
//!
//! Everything keeps its number: UIDs, UIDVALIDITY, modification sequences, what stands for mailboxes and messages. So changes
//! can be read in their order, again and again, until there are none; what has come says itself how far it is.

mod arriving;
mod image;
mod leaving;
mod moment;

pub use arriving::{Arrival, Arriving};
pub use image::{Entries, Expunged, Given, ImageOfAccount, ImageOfMailbox, ImageOfMessage, Octets, Page};
pub use leaving::Leaving;
pub use moment::Moment;
