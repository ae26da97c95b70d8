//! Looks up hosts, and opens TCP connections.
//!
//! A DNS lookup and a TCP connection attempt cannot be interrupted. So both run in a thread, and the
//! caller leaves that thread behind when the time is over or the stream is cancelled. The thread
//! ends by itself: at the latest when the operating system gives up the lookup, or at the deadline
//! of the attempt.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{NextTimeout, ShutdownHandle};
use ureq::{Error, Timeout};

use super::control::{ConnectionControl, deadline_in};
use super::fault::Fault;
use crate::endpoint::is_loopback;

/// The time for the first attempt to connect to this machine, which is made without a thread. Nearly
/// always, the connection is opened or refused at once, and a thread would double the time. Windows
/// is slower, so there is no such attempt.
const FIRST: Duration = Duration::from_millis(20);

/// Returns the addresses of a target, for a proxy that does not look up names.
pub(super) fn lookup(uri: &Uri, control: &ConnectionControl) -> Result<Vec<SocketAddr>, Error> {
    let host = host_and_port(uri)?;
    in_thread(control, move || addresses(&host, false))
}

/// Opens a connection to a URI's host. `to_proxy` says whether the host is a proxy.
pub(super) fn connect(
    uri: &Uri,
    to_proxy: bool,
    control: &Arc<ConnectionControl>,
) -> Result<TcpStream, Error> {
    let host = host_and_port(uri)?;
    let deadline = control.state().deadline;
    if cfg!(not(windows)) && uri.host().is_some_and(is_loopback) {
        let addresses = addresses(&host, to_proxy)?;
        let soon = deadline.into_iter().chain(deadline_in(FIRST)).min();
        match connect_to_one(&addresses, soon, control) {
            Err(Error::Timeout(_)) => {}
            result => return result,
        }
    }
    let of_thread = Arc::clone(control);
    in_thread(control, move || connect_to_one(&addresses(&host, to_proxy)?, deadline, &of_thread))
}

fn host_and_port(uri: &Uri) -> Result<String, Error> {
    let found = uri.scheme().zip(uri.authority());
    let found = found.and_then(|(scheme, host)| DefaultResolver::host_and_port(scheme, host));
    found.ok_or(Error::HostNotFound)
}

fn addresses(host_and_port: &str, of_proxy: bool) -> Result<Vec<SocketAddr>, Error> {
    let source = match host_and_port.to_socket_addrs().map(Vec::from_iter) {
        Ok(found) if !found.is_empty() => return Ok(ordered(found)),
        Ok(_) => Error::HostNotFound,
        Err(error) => Error::Io(error),
    };
    Err(Fault::Name { of_proxy, source }.into())
}

/// Returns a host's addresses in the order in which they are tried. For this machine, IPv4 comes
/// first: most local servers listen only there, and Windows takes two seconds to refuse `::1`.
fn ordered(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        addresses.sort_by_key(SocketAddr::is_ipv6);
    }
    addresses
}

/// Connects to the first address that can be reached. Each address but the last gets half of the
/// time that is left.
fn connect_to_one(
    addresses: &[SocketAddr],
    deadline: Option<Instant>,
    control: &ConnectionControl,
) -> Result<TcpStream, Error> {
    let mut failed = None;
    for (at, address) in (1..).zip(addresses) {
        control.state().check()?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let connected = match left {
            None => TcpStream::connect(address),
            Some(left) => {
                let share = if at < addresses.len() { left / 2 } else { left };
                // The system accepts no limit of zero.
                TcpStream::connect_timeout(address, share.max(Duration::from_millis(1)))
            }
        };
        match connected {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            // An address that does not answer may do so later, whatever the next one says.
            Err(error) => failed = failed.filter(is_late).or(Some(error)),
        }
    }
    match failed {
        Some(error) if is_late(&error) => Err(Error::Timeout(Timeout::Connect)),
        failed => Err(failed.map_or(Error::HostNotFound, Error::Io)),
    }
}

fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// Runs a job in a thread. Returns its result, or an error when the time for the connection is over
/// or the stream is cancelled.
fn in_thread<T: Send + 'static>(
    control: &ConnectionControl,
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let limit = control.limit(NextTimeout::default());
    let (sender, receiver) = mpsc::channel();
    let waiting: Arc<dyn ShutdownHandle> = Arc::new(Waiting(sender.clone()));
    control.register(Arc::downgrade(&waiting))?;
    thread::Builder::new().name("kerb-connect".to_owned()).spawn(move || sender.send(job()))?;
    receiver.recv_timeout(*limit.after).unwrap_or(Err(Error::Timeout(limit.reason)))
}

/// Ends a wait for a thread when the stream is cancelled.
struct Waiting<T>(mpsc::Sender<Result<T, Error>>);

impl<T: Send> ShutdownHandle for Waiting<T> {
    fn shutdown(&self) {
        // It fails if nobody waits any more.
        let _ = self.0.send(Err(Fault::Interrupted.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Interrupt;
    use crate::http::control::Phase;

    fn control(limit: Duration) -> Arc<ConnectionControl> {
        let control = Arc::new(ConnectionControl::default());
        control.state().phase = Phase::Connect;
        control.state().deadline = deadline_in(limit);
        control
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Returns a job that ends only when the returned sender is dropped, and a receiver that is told
    /// when the job begins.
    fn endless() -> (impl FnOnce() -> Result<(), Error> + Send, mpsc::Receiver<()>, mpsc::Sender<()>)
    {
        let (begun, begins) = mpsc::channel();
        let (gate, opened) = mpsc::channel::<()>();
        let job = move || {
            begun.send(()).unwrap();
            opened.recv().map_err(|_| Error::HostNotFound)
        };
        (job, begins, gate)
    }

    #[test]
    fn a_job_that_cannot_be_interrupted_is_left_behind() {
        let (job, _begins, _gate) = endless();
        let late = in_thread(&control(Duration::from_millis(10)), job).unwrap_err();
        assert!(matches!(late, Error::Timeout(Timeout::Connect)), "{late:?}");

        let is_fault = |error: Error| matches!(error, Error::Other(it) if it.is::<Fault>());
        let (job, begins, _gate) = endless();
        let cancelled = control(LONG);
        let of_thread = Arc::clone(&cancelled);
        let waits = thread::spawn(move || in_thread(&of_thread, job));
        begins.recv().unwrap();
        let started = Instant::now();
        cancelled.interrupt();
        assert!(is_fault(waits.join().unwrap().unwrap_err()));
        assert!(started.elapsed() < LONG / 2);
        // After that, nothing begins.
        assert!(is_fault(in_thread(&cancelled, || Ok(())).unwrap_err()));

        in_thread(&control(LONG), || Ok(())).unwrap();
    }

    #[test]
    fn this_machine_is_reached_over_ipv4_first() {
        let parsed = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<_>>();
        let local = parsed(&["[::1]:80", "127.0.0.1:80"]);
        assert_eq!(ordered(local), parsed(&["127.0.0.1:80", "[::1]:80"]));
        // The system knows the best order for other hosts.
        let other = parsed(&["[2001:db8::1]:80", "192.0.2.1:80"]);
        assert_eq!(ordered(other.clone()), other);
    }

    #[test]
    fn the_next_address_is_tried_after_one_that_refuses() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = open.local_addr().unwrap();
        let closed = "127.0.0.1:1".parse().unwrap();
        let control = control(LONG);
        for deadline in [None, deadline_in(LONG)] {
            let connect = |addresses: &[SocketAddr]| connect_to_one(addresses, deadline, &control);
            assert_eq!(connect(&[closed, open]).unwrap().peer_addr().unwrap(), open);
            let Error::Io(error) = connect(&[closed]).unwrap_err() else { panic!() };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }

        // A listener whose queue is full does not answer. Some systems refuse instead.
        let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let full = (full.local_addr().unwrap(), full);
        let mut queue = Vec::new();
        let limit = Duration::from_millis(200);
        let error = loop {
            match TcpStream::connect_timeout(&full.0, limit) {
                Ok(stream) => queue.push(stream),
                Err(error) => break error,
            }
        };
        if is_late(&error) {
            // It leaves time for the next address, and a refusal there does not hide it.
            let soon = || deadline_in(3 * limit);
            let connected = connect_to_one(&[full.0, open], soon(), &control);
            assert_eq!(connected.unwrap().peer_addr().unwrap(), open);
            let error = connect_to_one(&[full.0, closed], soon(), &control).unwrap_err();
            assert!(matches!(error, Error::Timeout(Timeout::Connect)), "{error:?}");
        }
    }
}
