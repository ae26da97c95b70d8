//! Cancels a stream from another thread: [`CancelHandle`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Cancels a stream, from another thread even while its `next` waits, or from one of its closures.
///
/// The stream's last item is then [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). Everything
/// that arrived before stays in [`GenerationStream::response`](crate::GenerationStream::response).
/// Other streams are not affected. Cancelling a stream that has ended does nothing. If a stream is
/// cancelled before its first `next`, the request is not sent.
///
/// ```no_run
/// use std::time::Duration;
///
/// let mut stream = kerb_stream::generate_stream("Count to a million.", "mistral-small-latest");
/// let cancel = stream.cancel_handle();
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_secs(5));
///     cancel.cancel();
/// });
/// for chunk in &mut stream {
///     match chunk {
///         Ok(chunk) => print!("{}", chunk.content),
///         Err(error) => eprintln!("{error:#}"),
///     }
/// }
/// ```
///
/// Every wait ends within about 20 milliseconds, whatever the server does: DNS lookup, connection,
/// TLS and proxy handshakes, writing, reading, and the wait before a retry. On Windows, a wait for
/// the server may take up to half a second more. Only two things cannot be interrupted: a read of a
/// reader that was given to [`from_reader`](crate::GenerationStream::from_reader), and a tool that
/// runs.
#[derive(Clone)]
pub struct CancelHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// This flag is not part of the locked value, so that reading it with each chunk needs no lock.
    /// It is written only while the lock is held.
    is_cancelled: AtomicBool,
    /// This reference is weak, so that dropping a stream closes its sockets.
    running: Mutex<Option<Weak<dyn Interrupt>>>,
    cancelled: Condvar,
}

/// Something that a stream waits on, and that [`CancelHandle::cancel`] can interrupt.
pub(crate) trait Interrupt: Send + Sync {
    /// Makes all current and future waits return immediately. The function is called at most once,
    /// and under the handle's lock: it must neither wait nor use the handle.
    fn interrupt(&self);
}

impl CancelHandle {
    /// Cancels the stream. It returns at once, whatever the stream is doing, and can be called any
    /// number of times.
    pub fn cancel(&self) {
        let mut running = self.running();
        self.0.is_cancelled.store(true, Ordering::Release);
        // The lock is still held, so that nothing is interrupted once `detach` has returned.
        if let Some(running) = running.take().and_then(|weak| weak.upgrade()) {
            running.interrupt();
        }
        drop(running);
        self.0.cancelled.notify_all();
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Sleeps for `time`, or until the stream is cancelled. Returns whether it was cancelled.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let running = self.running();
        drop(self.0.cancelled.wait_timeout_while(running, time, |_| !self.is_cancelled()));
        self.is_cancelled()
    }

    /// Replaces what [`cancel`](Self::cancel) interrupts. If the stream is already cancelled, the
    /// new value is interrupted immediately.
    pub(crate) fn attach(&self, running: Weak<dyn Interrupt>) {
        let mut attached = self.running();
        if !self.is_cancelled() {
            *attached = Some(running);
        } else if let Some(running) = running.upgrade() {
            running.interrupt();
        }
    }

    /// Makes sure that [`cancel`](Self::cancel) interrupts nothing once this call has returned.
    pub(crate) fn detach(&self) {
        *self.running() = None;
    }

    /// Locks `running` and ignores poisoning: a panic under the lock cannot leave the value half
    /// changed.
    fn running(&self) -> MutexGuard<'_, Option<Weak<dyn Interrupt>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("cancelled", &self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;

    struct Counter(AtomicU32);

    impl Interrupt for Counter {
        fn interrupt(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_is_attached_is_interrupted_and_only_once() {
        let [early, running, late] = [(); 3].map(|()| Arc::new(Counter(AtomicU32::new(0))));
        let weak = |counter: &Arc<Counter>| Arc::downgrade(counter) as Weak<dyn Interrupt>;
        let handle = CancelHandle::new();
        handle.attach(weak(&early));
        handle.detach();
        handle.attach(weak(&running));
        let clone = handle.clone();
        clone.cancel();
        clone.cancel();
        handle.attach(weak(&late));
        let counts = [&early, &running, &late].map(|counter| counter.0.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 1, 1]);
        assert!(handle.is_cancelled());
    }

    #[test]
    fn a_wait_ends_with_its_time_or_when_cancelled() {
        let handle = CancelHandle::new();
        assert!(!handle.wait(Duration::from_millis(1)));
        let waiting = {
            let handle = handle.clone();
            thread::spawn(move || handle.wait(Duration::MAX))
        };
        handle.cancel();
        assert!(waiting.join().unwrap());
        assert!(handle.wait(Duration::MAX));
    }
}
