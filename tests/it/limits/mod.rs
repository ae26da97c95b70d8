//! Everything that a server can draw out or let grow has a limit. The faults of a network that meet one
//! stand in the table of faults.

#[cfg(feature = "rustls")]
mod drips;
mod sizes;
mod stalls;
