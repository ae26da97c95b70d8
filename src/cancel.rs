//! Ending a stream from another thread: [`CancelHandle`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Ends a stream from another thread, even while its `next` waits there.
///
/// The stream's last item is then [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled); what had
/// arrived stays in [`GenerationStream::response`](crate::GenerationStream::response). No other
/// stream is touched, and cancelling one that has ended does nothing. A handle that was used before
/// the first `next` keeps the request from being sent.
///
/// ```no_run
/// use std::time::Duration;
///
/// let mut stream = kerb_stream::generate_stream("Count to a million.", "gpt-4o-mini");
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
/// Waiting for an answer or a retry ends within milliseconds, and so do a TLS handshake and a
/// proxy's. A name look-up or a TCP connection that has begun cannot be interrupted; the stream
/// then ends when they do, which
/// [`connect_timeout`](crate::GenerationConfig#structfield.connect_timeout) bounds.
#[derive(Clone)]
pub struct CancelHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Outside the lock, since it is asked for with each chunk; set under it.
    is_cancelled: AtomicBool,
    /// Weak, so that a stream which is dropped takes its sockets along.
    running: Mutex<Option<Weak<dyn Interrupt>>>,
    cancelled: Condvar,
}

/// What a stream waits on, for [`CancelHandle::cancel`] to wake it.
pub(crate) trait Interrupt: Send + Sync {
    /// Makes everything that waits return at once, now and from now on. Called at most once, and
    /// under the handle's lock: it must neither wait nor use the handle.
    fn interrupt(&self);
}

impl CancelHandle {
    /// Ends the stream. It returns at once, whatever the stream is doing, and can be called any
    /// number of times.
    pub fn cancel(&self) {
        let mut running = self.running();
        self.0.is_cancelled.store(true, Ordering::Release);
        // Under the lock, so that nothing is interrupted once `detach` has returned.
        if let Some(running) = running.take().and_then(|weak| weak.upgrade()) {
            running.interrupt();
        }
        drop(running);
        self.0.cancelled.notify_all();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Sleeps for `time`, or until the stream is cancelled; whether it was.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let running = self.running();
        drop(self.0.cancelled.wait_timeout_while(running, time, |_| !self.is_cancelled()));
        self.is_cancelled()
    }

    /// Names what to interrupt from now on, in place of what was named before.
    pub(crate) fn attach(&self, running: Weak<dyn Interrupt>) {
        let mut attached = self.running();
        if !self.is_cancelled() {
            *attached = Some(running);
        } else if let Some(running) = running.upgrade() {
            running.interrupt();
        }
    }

    /// Once it returns, [`cancel`](Self::cancel) interrupts nothing any more.
    pub(crate) fn detach(&self) {
        *self.running() = None;
    }

    /// No code of others runs under the lock, so a poisoned one is whole.
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
