//! Ctrl-C and SIGTERM, turned into a flag that a loop can look at.
//!
//! The first signal asks the command to end in order (leave the consumer group, flush the producer, print the
//! result). The second ends the process at once, for whoever does not want to wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
        // Here and not on the thread: a signal that comes before ends the process.
        let signals = Signals::register(&runtime).context("cannot watch for signals")?;
        let wait = move || runtime.block_on(watch_signals(signals, &raised, on_signal));
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

async fn watch_signals(mut signals: Signals, interrupt: &Interrupt, on_signal: impl FnOnce()) {
    signals.next().await;
    interrupt.raise();
    on_signal();
    signals.next().await;
    std::process::exit(ENDED_BY_SIGNAL);
}

/// SIGINT and SIGTERM.
struct Signals([Signal; 2]);

impl Signals {
    /// From now on signals come here, and do not end the process.
    fn register(runtime: &Runtime) -> std::io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    /// Waits for either. Both at the same time count as one.
    async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            let came = self.0.each_mut().map(|signal| signal.poll_recv(cx).is_ready());
            if came.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Interrupt;

    #[test]
    fn a_signal_that_comes_at_once_is_heard() {
        let interrupt = Interrupt::listen().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
        assert!(interrupt.wait(Duration::from_secs(60)));
    }

    #[test]
    fn raising_wakes_a_waiter() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::from_millis(1)));
        interrupt.raise();
        assert!(interrupt.is_raised() && interrupt.wait(Duration::from_secs(60)));
    }
}
