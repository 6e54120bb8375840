//! A panic is a bug, and ends one conversation: it is counted and logged, and the others go on.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future whose panic is a log line and a count, not the end of the process.
pub(crate) struct CatchPanic<T> {
    what: &'static str,
    task: Pin<Box<T>>,
}

impl<T: Future<Output = ()>> CatchPanic<T> {
    pub(crate) fn new(what: &'static str, task: T) -> Self {
        Self { what, task: Box::pin(task) }
    }
}

impl<T: Future<Output = ()>> Future for CatchPanic<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = &mut self.task;
        match std::panic::catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
                metrics::counter!("estafeta_panics_total").increment(1);
                tracing::error!(
                    what = self.what,
                    panic = text,
                    "a bug: this conversation ends, the others go on; please report it"
                );
                Poll::Ready(())
            }
        }
    }
}
