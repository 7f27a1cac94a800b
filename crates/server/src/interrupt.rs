//! Ctrl-C and SIGTERM, turned into a flag that a loop can look at.
//!
//! The first signal asks the command to end in order (leave the consumer group, flush the producer, print the
//! result). The second ends the process at once, for whoever does not want to wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// The exit code of a process that a second Ctrl-C ended: 128 + SIGINT, as shells have it.
const ENDED_BY_SIGNAL: i32 = 130;

/// A flag that is raised once: by a signal, or by whoever holds a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<(Mutex<bool>, Condvar)>);

impl Interrupt {
    /// A flag that the next SIGINT or SIGTERM raises.
    ///
    /// # Errors
    /// If the operating system refuses the signal handlers or a thread.
    pub(crate) fn listen() -> Result<Self> {
        Self::listen_with(|| {})
    }

    /// As [`Interrupt::listen`], and calls `raised` when the first signal comes.
    ///
    /// # Errors
    /// As [`Interrupt::listen`].
    pub(crate) fn listen_with(on_signal: impl FnOnce() + Send + 'static) -> Result<Self> {
        let interrupt = Self::default();
        let raised = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wait = move || runtime.block_on(watch_signals(&raised, on_signal));
        // The handle is dropped on purpose: the thread lives as long as the process.
        std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot watch for signals")?;
        Ok(interrupt)
    }

    /// Raises the flag and wakes everybody who waits for it.
    pub(crate) fn raise(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether the flag is up.
    pub(crate) fn is_raised(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the flag is raised or `limit` has passed. Returns whether it is up.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(guard, limit, |raised| !*raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

async fn watch_signals(interrupt: &Interrupt, on_signal: impl FnOnce()) {
    if next_signal().await.is_err() {
        return;
    }
    interrupt.raise();
    on_signal();
    if next_signal().await.is_ok() {
        std::process::exit(ENDED_BY_SIGNAL);
    }
}

async fn next_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    std::future::poll_fn(|cx| {
        let woken = int.poll_recv(cx).is_ready() || term.poll_recv(cx).is_ready();
        if woken { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Interrupt;

    #[test]
    fn raising_wakes_a_waiter() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::from_millis(1)));
        interrupt.raise();
        assert!(interrupt.is_raised() && interrupt.wait(Duration::from_secs(60)));
    }
}
