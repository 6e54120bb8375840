//! The rules that judge a message by what stands in it. Each is a function from bytes to what it found.

pub mod gtube;
pub mod headers;
