//! Every resource that a server can exhaust has a limit: time and memory. The limits that network
//! faults meet are tested in the table of faults.

#[cfg(feature = "rustls")]
mod drips;
mod sizes;
mod stalls;
