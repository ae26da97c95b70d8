//! Against scripted servers on this machine.
